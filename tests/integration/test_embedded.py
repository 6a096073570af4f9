"""The embedded services as real processes: they start, keep what they are told, survive kills, leave nothing."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import msgspec
import psutil
import pytest
import redis.asyncio
from redis.exceptions import RedisError

from veza.config import Settings, load_secrets, load_settings
from veza.errors import StartupError, Unavailable
from veza.storage import cache
from veza.storage.database import connect_arguments
from veza.storage.embedded import Objects, Postgres, Redis, Service, leftovers
from veza.storage.objects import open_objects

# Starts a PostgreSQL, writes a row, says so, and waits to be killed.
VICTIM = """
import asyncio, asyncpg, sys, time
from pathlib import Path
from veza.storage.embedded import Postgres
from veza.storage.database import connect_arguments
server = Postgres(Path(sys.argv[1]))
async def main():
    await server.ready()
    connection = await asyncpg.connect(**connect_arguments(server.url))
    await connection.execute("CREATE TABLE kept (x int)")
    await connection.execute("INSERT INTO kept VALUES (7)")
server.start()
asyncio.run(main())
print(server.pid, flush=True)
time.sleep(60)
"""


@contextlib.asynccontextmanager
async def started(service: Service) -> AsyncIterator[Service]:
    try:
        service.start()
        await service.ready()
        yield service
    finally:
        service.stop()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def query(url: str, statement: str) -> object:
    connection = await asyncpg.connect(**connect_arguments(url), timeout=5)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"VEZA_DATA_DIR": str(tmp_path / "data")}, None)


@pytest.fixture
def postgres_server(settings: Settings) -> Postgres:
    # pytest's directories are closed to other accounts, as a home is: the server must cope as root.
    return Postgres(settings.data_dir)


async def test_postgres_keeps_rows_over_a_restart_and_leaves_no_process(postgres_server: Postgres) -> None:
    async with started(postgres_server):
        await query(postgres_server.url, "CREATE TABLE kept AS SELECT 7 AS x")
        assert await query(postgres_server.url, "SHOW fsync") == "on"
        assert await query(postgres_server.url, "SHOW listen_addresses") == ""
        pid = postgres_server.pid
        assert pid is not None
        below = psutil.Process(pid).children(recursive=True)
        assert os.getsid(pid) != os.getsid(0)
    assert not any(process.is_running() for process in below)
    assert not psutil.pid_exists(pid)
    async with started(postgres_server):
        assert await query(postgres_server.url, "SELECT x FROM kept") == 7


async def test_postgres_has_a_long_data_directory(tmp_path: Path) -> None:
    server = Postgres(tmp_path / ("long" * 40) / "data")
    async with started(server):
        assert await query(server.url, "SELECT 1") == 1


async def test_a_killed_postgres_is_started_again_with_its_rows(postgres_server: Postgres) -> None:
    async with started(postgres_server):
        await query(postgres_server.url, "CREATE TABLE kept AS SELECT 7 AS x")
        before = postgres_server.pid
        assert before is not None
        watching = asyncio.create_task(postgres_server.watch())
        try:
            os.kill(before, signal.SIGKILL)

            async def recovered() -> bool:
                try:
                    return await query(postgres_server.url, "SELECT x FROM kept") == 7
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    return False

            await until(recovered)
            assert postgres_server.pid not in {None, before}
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def victim(data_dir: Path) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen([sys.executable, "-c", VICTIM, str(data_dir)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


async def test_it_ends_with_whoever_started_it(settings: Settings) -> None:
    process, postmaster = victim(settings.data_dir)
    kill(process)

    async def gone() -> bool:
        try:
            return psutil.Process(postmaster).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await until(gone)


async def test_the_next_run_recovers_after_everything_was_killed(settings: Settings, postgres_server: Postgres) -> None:
    process, postmaster = victim(settings.data_dir)
    # Nothing gets to tidy up: the postmaster first, its backends find themselves alone.
    os.kill(postmaster, signal.SIGKILL)
    kill(process)
    async with started(postgres_server):
        assert await query(postgres_server.url, "SELECT x FROM kept") == 7


async def test_leftovers_are_found_and_only_those(settings: Settings, tmp_path: Path) -> None:
    # A process whose parent died at once is nobody's child of ours, as after a crash.
    orphan = (
        "import subprocess, sys;"
        "command = [sys.executable, '-c', 'import time; time.sleep(60)'];"
        "p = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL);"
        "print(p.pid)"
    )

    def left_by(data_dir: Path) -> int:
        environment = {**os.environ, leftovers.INSTANCE_VARIABLE: str(data_dir)}
        return int(subprocess.check_output([sys.executable, "-c", orphan], env=environment))

    ours, strangers = left_by(settings.data_dir), left_by(tmp_path / "other")
    try:
        found = leftovers.find(settings.data_dir)
        assert [process.pid for process in found] == [ours]
        leftovers.end(found, settings.data_dir)
        assert psutil.pid_exists(strangers)
        assert leftovers.find(settings.data_dir) == []
    finally:
        os.kill(strangers, signal.SIGKILL)


async def test_a_damaged_cluster_is_one_sentence(settings: Settings, postgres_server: Postgres) -> None:
    async with started(postgres_server):
        pass
    (settings.data_dir / "postgres" / "global" / "pg_control").unlink()
    postgres_server.start()
    with pytest.raises(StartupError) as caught:
        await postgres_server.ready()
    postgres_server.stop()
    assert "\n" not in caught.value.message
    assert "pg_control" in caught.value.message


async def test_an_interrupted_initdb_is_begun_again(settings: Settings, postgres_server: Postgres) -> None:
    half = settings.data_dir / "postgres.new" / "base"
    half.mkdir(parents=True)
    (half / "1").write_text("half")
    async with started(postgres_server):
        assert await query(postgres_server.url, "SELECT 1") == 1


async def test_redis_wants_its_password_and_survives_a_kill(settings: Settings) -> None:
    password = load_secrets(settings.data_dir).redis_password
    server = Redis(settings.data_dir, password)
    async with started(server):
        assert server.pid is not None
        assert password not in " ".join(psutil.Process(server.pid).cmdline())
        client = cache.open_cache(server.url)
        await client.set("hint", "kept")
        # The append-only file is written at least once a second; asking says when.
        await client.execute_command("WAITAOF", 1, 0, 5000)
        await client.aclose()
        stranger = redis.asyncio.from_url(server.url.replace(password, "wrong"))
        with pytest.raises(RedisError, match="invalid username-password"):
            await stranger.ping()
        await stranger.aclose()
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        server.start()
        await server.ready()
        client = cache.open_cache(server.url)
        assert await client.get("hint") == b"kept"
        await client.aclose()


async def test_a_cache_that_is_gone_is_said_to_be(settings: Settings) -> None:
    client = cache.open_cache(f"unix://{settings.data_dir}/nowhere.sock")
    with pytest.raises(Unavailable):
        await cache.check(client)
    await client.aclose()


async def test_objects_are_kept_under_the_same_address(settings: Settings) -> None:
    server = Objects(settings.data_dir, settings.aws_access_key_id, settings.aws_secret_access_key)
    async with started(server):
        there = msgspec.structs.replace(settings, s3_endpoint_url=server.url)
        async with open_objects(there) as store:
            await store.ensure_bucket()
            await store.ensure_bucket()
            await store.check()
            writer = store.writer("a/b", "text/plain")
            await writer.write(b"kept")
            await writer.finish()
        async with open_objects(msgspec.structs.replace(there, aws_secret_access_key="wrong")) as store:
            with pytest.raises(Unavailable):
                await store.check()
    again = Objects(settings.data_dir, settings.aws_access_key_id, settings.aws_secret_access_key)
    async with started(again):
        assert again.url == server.url
        async with open_objects(there) as store:
            async with store.read("a/b", 1, 2) as pieces:
                assert b"".join([piece async for piece in pieces]) == b"ep"
            await store.remove("a/b")
            await store.remove("a/b")
            with pytest.raises(Unavailable):
                async with store.read("a/b", 0, 3):
                    pass
    async with open_objects(there) as store:
        with pytest.raises(Unavailable):
            await store.check()
