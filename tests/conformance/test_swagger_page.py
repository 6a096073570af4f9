"""The page of the documentation in a browser, under its policy: no inline script or style, nothing from elsewhere."""

from contextlib import AsyncExitStack

import httpx
import pytest
from chromium import Chromium
from system.running import Running


@pytest.mark.debian
async def test_the_page_shows_and_tries_every_operation(platform: Running, chromium: Chromium) -> None:
    async with httpx.AsyncClient(base_url=platform.url) as http:
        document = (await http.get("/swagger/openapi.json")).json()
    async with AsyncExitStack() as stack:
        page, broken = await chromium.open(f"{platform.url}/swagger", stack)
        refused: list[str] = []
        page.on("console", lambda line: refused.append(line.text) if line.type == "error" else None)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.reload()
        await page.wait_for_selector(".opblock-summary-path")
        operations = sum(len(methods) for methods in document["paths"].values())
        assert await page.locator(".opblock").count() == operations
        health = page.locator("#operations-system-system_health")
        await health.locator(".opblock-summary-control").click()
        await health.locator(".try-out__btn").click()
        await health.locator(".execute").click()
        answer = health.locator(".live-responses-table .response-col_status").last
        await answer.wait_for()
        assert "200" in await answer.inner_text()
        assert refused == []
        assert not broken
        assert all(url.startswith((platform.url, "data:")) for url in asked), asked
