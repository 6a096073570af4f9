"""The JavaScript runner in Chromium: pages of another origin, which the platform allows, that import its SDK."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from playwright.async_api import Browser, Error, Page, async_playwright
from runner import Harness

CHROMIUM = Path("/usr/bin/chromium")
FOUND = CHROMIUM.exists()
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START = """
async ([sdkUrl, scenario, people]) => {
  const [sdk, { run }] = await Promise.all([import(sdkUrl), import("./interpreter.mjs")]);
  return run(scenario, { sdk, people, harness: window.suffer });
}
"""


class Chromium:
    """Use it as an async context manager. `pages` is the address of the pages, `platform` that of the SDK."""

    def __init__(self, pages: str, platform: str) -> None:
        self._pages = pages
        self._platform = platform
        self._stack = AsyncExitStack()
        self._browser: Browser | None = None

    async def __aenter__(self) -> Self:
        assert FOUND, f"Chromium is not at {CHROMIUM}: `make test-debian` installs it when run as root."
        playwright = await self._stack.enter_async_context(async_playwright())
        self._browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        self._stack.push_async_callback(self._browser.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self, scenario: dict[str, Any], people: dict[str, Any], harness: Harness) -> str | None:
        """None when the scenario went as written, else a sentence."""

        async def suffer(action: str) -> None:
            await harness(action)

        async with AsyncExitStack() as stack:
            page, broken = await self.open(f"{self._pages}/page.html", stack)
            await page.expose_function("suffer", suffer)
            result: str | None = await page.evaluate(START, [f"{self._platform}/sdk/veza.js", scenario, people])
            return result or (f"the page is broken: {broken[0]}" if broken else None)

    async def open(self, url: str, stack: AsyncExitStack) -> tuple[Page, list[Error]]:
        """A page in a browser context of its own, and what it leaves uncaught: errors and rejected promises."""
        assert self._browser is not None
        context = await self._browser.new_context()
        stack.push_async_callback(context.close)
        page = await context.new_page()
        broken: list[Error] = []
        page.on("pageerror", lambda error: broken.append(error))  # noqa: PLW0108 - it marks what it is given
        await page.goto(url)
        return page, broken
