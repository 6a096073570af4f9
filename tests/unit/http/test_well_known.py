"""What machines look for at fixed addresses."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from http_harness import make_services, served

from veza.config import load_settings
from veza.http.api import well_known
from veza.http.api.well_known import security_text


@pytest.fixture
async def asker(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    services = make_services(tmp_path, APP_DOMAIN="veza.test:8443", SECURITY_CONTACT="safe@veza.test")
    async with served(services, [well_known.resource]) as found:
        yield found


async def test_security_txt(asker: httpx.AsyncClient) -> None:
    answer = await asker.get("/.well-known/security.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert fields["Contact"] == "mailto:safe@veza.test"
    expires = datetime.fromisoformat(fields["Expires"])
    assert timedelta() < expires - datetime.now(UTC) < timedelta(days=365)
    assert answer.text.endswith("\n")


def test_it_never_runs_out_and_knows_where_it_is(tmp_path: Path) -> None:
    settings = load_settings({"VEZA_DATA_DIR": str(tmp_path), "APP_DOMAIN": "veza.test:8443"}, None)
    for year in (2026, 2050):
        text = security_text(settings, datetime(year, 12, 31, 23, 59, tzinfo=UTC))
        assert "Contact: mailto:security@veza.test\n" in text
        assert f"Expires: {year + 1}-06-29T00:00:00Z\n" in text
        assert "Canonical" not in text
    text = security_text(settings.__replace__(app_env="production"), datetime(2026, 1, 1, tzinfo=UTC))
    assert "Canonical: https://veza.test:8443/.well-known/security.txt\n" in text


async def test_gpc_json_has_no_envelope(asker: httpx.AsyncClient) -> None:
    answer = await asker.get("/.well-known/gpc.json")
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"gpc", "lastUpdate"}
    assert body["gpc"] is True
    assert datetime.fromisoformat(body["lastUpdate"]) < datetime.now()  # noqa: DTZ005 - a date alone


async def test_there_is_nothing_below_the_api(asker: httpx.AsyncClient) -> None:
    assert (await asker.get("/api/v1/.well-known/gpc.json")).status_code == 404
