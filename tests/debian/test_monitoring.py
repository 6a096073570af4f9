"""The files of monitoring/ in a real Prometheus: rules, alerts, and every question of the dashboard."""

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from system.people import People
from system.ports import free_port
from system.running import Running
from system.waiting import until

pytestmark = pytest.mark.debian

MONITORING = Path(__file__).parents[2] / "monitoring"
HERE = Path(__file__).parent
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
ALERTS: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
QUESTIONS = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]


def run(program: Path, *arguments: str) -> str:
    """Its output. Fails with it when the program does."""
    done = subprocess.run([program, *arguments], cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_example_and_the_rules_are_valid(promtool: Path) -> None:
    assert f"{len(ALERTS)} rules found" in run(promtool, "check", "config", str(MONITORING / "prometheus.yml"))


def test_alerts_fire_when_they_should_and_only_then(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", "alerts_test.yml")
    stories = (HERE / "alerts_test.yml").read_text()
    assert [rule["alert"] for rule in ALERTS if rule["alert"] not in stories] == []


# -- the dashboard -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Running]:
    """The platform, with something to show."""
    async with Running({}) as running:
        people = People(running)
        ada, bob = await people.register(), await people.register()
        room = await ada.room(bob)
        async with await ada.connect() as one, await bob.connect() as two:
            for socket in (one, two):
                await socket.call("join_room", room_id=room, last_seq=0)
            for number in range(5):
                await one.send(room, f"message {number}")
            yield running


@pytest.fixture(scope="module")
async def client(
    platform: Running, prometheus: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to a Prometheus that has watched the platform for a while."""
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    settings = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(MONITORING / "alerts.yml")]
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{platform.port}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    with started(prometheus, folder, port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def scraped() -> bool:
                try:
                    found = await query(client, "min(count_over_time(veza_sockets[1m]))")
                except httpx.TransportError:
                    return False
                return bool(found) and float(found[0]["value"][1]) >= 5

            await until(scraped, "Prometheus to look five times", 60)
            yield client


class started:  # noqa: N801 - reads as what it is: `with started(…)`
    """A Prometheus that ends with the block."""

    def __init__(self, program: Path, folder: Path, port: int) -> None:
        self._arguments = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._log = (folder / "log").open("wb")

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._arguments, stdout=self._log, stderr=self._log)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


async def query(client: httpx.AsyncClient, expression: str) -> list[dict[str, Any]]:
    answer = await client.get("/api/v1/query", params={"query": expression})
    if answer.status_code == 503:  # still reading its files
        return []
    body = answer.json()
    assert body["status"] == "success", f"{body.get('error')}: {expression}"
    found: list[dict[str, Any]] = body["data"]["result"]
    return found


def filled_in(expression: str) -> str:
    """As Grafana asks when all machines are chosen."""
    return expression.replace("$__rate_interval", "1m").replace("$__range", "1h").replace('"$instance"', '".*"')


# What has no series until it happens, for its labels are not known before.
RARE = ("veza_refusals_total", "veza_actors_lost_total", "veza_partition_moves_total")


@pytest.mark.parametrize("expression", QUESTIONS)
async def test_every_panel_has_an_answer(client: httpx.AsyncClient, expression: str) -> None:
    found = await query(client, filled_in(expression))
    assert found or any(name in expression for name in RARE)


async def test_marks_on_the_dashboard_are_questions_too(client: httpx.AsyncClient) -> None:
    for mark in DASHBOARD["annotations"]["list"]:
        # No failover happened; what counts is that the question is one.
        assert await query(client, filled_in(mark["expr"])) == []


async def test_the_dashboard_finds_the_machine(client: httpx.AsyncClient, platform: Running) -> None:
    found = await client.get("/api/v1/label/instance/values", params={"match[]": "veza_sockets"})
    assert found.json()["data"] == [f"127.0.0.1:{platform.port}"]


async def test_the_partition_map_is_whole(client: httpx.AsyncClient) -> None:
    owners = await query(client, "sum by (partition, shard) (veza_partition_epoch) > 0")
    assert sorted(int(row["metric"]["partition"]) for row in owners) == list(range(512))


async def test_a_healthy_platform_alerts_nobody(client: httpx.AsyncClient) -> None:
    groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(ALERTS)
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
