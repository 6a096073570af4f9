"""Probes, status and metrics."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from http_harness import served

from veza import metrics
from veza.errors import Unavailable
from veza.http.api import system
from veza.http.health import Details, Health
from veza.http.services import Services

ROOT_ROUTES = ("/health", "/health/deep", "/healthz", "/readyz", "/metrics")


async def well() -> Details:
    return {"rooms": 3}


async def ill() -> None:
    raise Unavailable("gone: /run/postgresql")


async def stuck() -> None:
    await asyncio.Event().wait()


async def test_readiness_follows_the_gateway(client: httpx.AsyncClient, services: Services) -> None:
    health = services.health
    before = await client.get("/api/v1/readyz")
    assert (before.status_code, before.json()["data"]["status"]) == (503, "not_ready")
    assert before.json()["success"] is True
    health.ready = True
    assert (await client.get("/api/v1/readyz")).json()["data"]["status"] == "ready"
    health.register("redis", ill)
    degraded = await client.get("/api/v1/readyz")
    assert (degraded.status_code, degraded.json()["data"]["status"]) == (200, "degraded")
    health.register("chat", ill, vital=True)
    down = await client.get("/api/v1/readyz")
    assert (down.status_code, down.json()["data"]["status"]) == (503, "not_ready")
    health.register("redis", well)
    health.register("chat", well, vital=True)
    assert (await client.get("/api/v1/readyz")).json()["data"]["status"] == "ready"
    health.draining = True
    assert (await client.get("/api/v1/readyz")).status_code == 503
    assert (await client.get("/api/v1/healthz")).status_code == 200


async def test_deep_health(client: httpx.AsyncClient, services: Services) -> None:
    services.health.register("database", well, vital=True)
    found = await client.get("/api/v1/health/deep")
    data = found.json()["data"]
    assert (found.status_code, data["status"]) == (200, "healthy")
    assert data["checks"]["database"]["status"] == "ok"
    assert data["checks"]["disk"]["details"]["free_gb"] > 0
    assert data["checks"]["s3"] == {"status": "not_configured"}
    assert data["timestamp"].endswith("Z")
    assert data["config"] == {
        "jwt_secret_set": True,
        "stripe_connect_enabled": False,
        "platform_fee_rate": 0.1,
        "transfer_retry_enabled": True,
    }
    services.health.register("redis", ill)
    degraded = await client.get("/api/v1/health/deep")
    assert (degraded.status_code, degraded.json()["data"]["status"]) == (200, "degraded")
    services.health.register("database", ill, vital=True)
    unhealthy = await client.get("/api/v1/health/deep")
    assert (unhealthy.status_code, unhealthy.json()["data"]["status"]) == (503, "unhealthy")
    assert unhealthy.json()["data"]["checks"]["database"]["error"] == "unreachable"
    assert "/run" not in unhealthy.text


async def test_status_names_its_parts(client: httpx.AsyncClient, services: Services) -> None:
    services.health.register("database", well, vital=True)
    services.health.register("chat", well, vital=True)
    data = (await client.get("/api/v1/status")).json()["data"]
    assert data["status"] == "operational"
    assert set(data["services"]) == {"db", "redis", "chat", "stream"}
    assert data["services"]["db"]["status"] == "ok"
    assert data["services"]["chat"]["latency_ms"] >= 0


async def test_a_check_that_hangs_is_cut_off_and_others_do_not_wait_for_it() -> None:
    health = Health()
    health.register("slow", stuck)
    health.register("slower", stuck)
    health.register("fast", well)
    loop = asyncio.get_running_loop()
    began = loop.time()
    results = await health.run()
    assert loop.time() - began < 3
    assert results["slow"].error == results["slower"].error == "timed out"
    assert results["fast"].details == {"rooms": 3}


async def test_many_probes_are_one_check() -> None:
    calls = []

    async def counted() -> None:
        calls.append(1)
        await asyncio.sleep(0)

    health = Health()
    health.register("database", counted)
    await asyncio.gather(*(health.run() for _ in range(100)))
    assert len(calls) == 1


@pytest.mark.parametrize("path", ROOT_ROUTES)
async def test_root_routes_are_deprecated(client: httpx.AsyncClient, path: str) -> None:
    old = await client.get(path)
    new = await client.get(f"/api/v1{path}")
    assert old.status_code == new.status_code
    assert old.headers["deprecation"].startswith("@")
    assert old.headers["link"] == f'</api/v1{path}>; rel="successor-version"'
    assert "deprecation" not in new.headers


async def test_metrics_count_by_pattern(client: httpx.AsyncClient) -> None:
    await client.get("/api/v1/songs/by-name/x")
    await client.request("INVENTED", "/api/v1/songs/by-name/x")
    await client.get("/nowhere/at/all")
    found = await client.get("/api/v1/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    lines = found.text.splitlines()
    pattern = 'method="GET",route="/api/v1/songs/by-name/<name>",status="200"'
    assert any(line.startswith(f"veza_http_requests_total{{{pattern}}}") for line in lines)
    assert any('method="GET",route="unmatched",status="404"' in line for line in lines)
    assert "INVENTED" not in found.text
    assert "/nowhere" not in found.text


_PROCESS = """
import os, sys
from veza import metrics
metrics.SOCKETS.set(int(sys.argv[1]))
metrics.RouteMeter("/x").observe("GET", 200, 0.01)
print(metrics.exposition()[0].decode() if sys.argv[2] == "show" else "ready", flush=True)
sys.stdin.readline()
"""


def _start(directory: Path, sockets: int, what: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(sockets), what],
        env={**os.environ, metrics.DIRECTORY_VARIABLE: str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_one_exposition_covers_every_process_and_forgets_the_killed(tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    (directory / "counter_1.db").write_bytes(b"left from before")
    metrics.prepare(directory)
    killed = _start(directory, 1000, "wait")
    living = _start(directory, 20, "wait")
    try:
        for process in (killed, living):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        killed.kill()
        killed.wait()
        shown, _ = _start(directory, 3, "show").communicate("\n", timeout=30)
    finally:
        killed.kill()
        living.kill()
        killed.communicate()
        living.communicate()
    assert "veza_sockets 23.0" in shown
    assert 'veza_http_requests_total{method="GET",route="/x",status="200"} 3.0' in shown


async def test_index_lists_the_areas(client: httpx.AsyncClient) -> None:
    for path in ("/api/v1/", "/api/v1"):
        data = (await client.get(path)).json()["data"]
        assert [area["name"] for area in data["areas"]] == ["system", "songs"]
        assert {"method": "POST", "path": "/api/v1/songs", "summary": "Create a song"} in data["areas"][1]["endpoints"]


async def test_services_that_are_configured_are_checked(services: Services) -> None:
    class Store:
        async def check(self) -> None:
            raise OSError

    services.objects = Store()
    services.health.ready = True
    async with served(services, [system.resource]) as client:
        assert (await client.get("/api/v1/readyz")).json()["data"]["status"] == "degraded"
        deep = (await client.get("/api/v1/health/deep")).json()["data"]
        assert deep["checks"]["s3"]["status"] == "error"


async def test_probes_fill_no_log_while_they_succeed(
    client: httpx.AsyncClient, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    def logged() -> list[tuple[str, str]]:
        return [(vars(line)["route"], line.levelname) for line in caplog.records if line.name == "veza.access"]

    with caplog.at_level(logging.INFO):
        await client.get("/api/v1/health")
        await client.get("/api/v1/readyz")
    assert logged() == [("/api/v1/readyz", "INFO")]
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        await client.get("/health")
    assert logged() == [("/health", "DEBUG")]
