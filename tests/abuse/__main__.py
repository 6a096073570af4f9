"""Figures for docs/security.md: `cd tests && python -m abuse` holds as many connections open as a process may."""

import asyncio
import statistics
import sys
import time

from system.people import People
from system.running import Running
from system.sockets import Socket

from abuse.crowd import Crowd, files_allowed

# These have the longest, so that the last is open before the first is cut off.
KINDS = ("the beginning of a body",)
ASKED = 200


async def answers(system: Running, socket: Socket) -> str:
    """How long others wait, over REST on new connections and on a socket."""
    waits: dict[str, list[float]] = {"REST": [], "socket": []}
    for _ in range(ASKED):
        started = time.perf_counter()
        answer = await system.http.get("health", headers={"Connection": "close"})
        waits["REST"].append(time.perf_counter() - started)
        assert answer.status_code == 200
        started = time.perf_counter()
        await socket.call("ping")
        waits["socket"].append(time.perf_counter() - started)
    return ", ".join(
        f"{name}: median {statistics.median(found) * 1000:.1f} ms, most {max(found) * 1000:.0f} ms"
        for name, found in waits.items()
    )


async def main() -> None:
    async with Running({}) as system:
        ada = await People(system).register()
        crowd = Crowd(system)
        gateways = await system.living("Gateway")

        def mib() -> list[int]:
            return [round(gateway.memory_info().rss / 1024 / 1024) for gateway in gateways]

        async with await ada.connect() as socket:
            sys.stdout.write(f"before: {await answers(system, socket)}; gateways {mib()} MiB\n")
            count, started = files_allowed(), time.monotonic()
            await crowd.gather(count, KINDS)
            sys.stdout.write(f"{count} opened in {time.monotonic() - started:.1f} s, at most {crowd.most} at a time\n")
            sys.stdout.write(f"while {crowd.open} are open: {await answers(system, socket)}; gateways {mib()} MiB\n")
            await crowd.ended(60)
            sys.stdout.write(f"all ended after {time.monotonic() - started:.1f} s: {dict(crowd.ends)}\n")
            sys.stdout.write(f"after: {await answers(system, socket)}; gateways {mib()} MiB\n")


if __name__ == "__main__":
    asyncio.run(main())
