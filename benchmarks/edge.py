"""Edge: what does everything that stands around a handler cost?

Request ids, headers, limits, metrics, logs, the envelope; for the second request also the token, its session and the
schema of the answer. `GET /health`, and `GET /users/me` of somebody signed in, which reads one row. 32 kept
connections; one gateway on one core, the client on another.

The peers, on the same core, in turns: a bare Sanic application that answers the same, and runs the same query, with
nothing around it; and FastAPI on uvicorn with a limiter in its own memory, which checks the token but knows no
sessions. What PostgreSQL and the rate limiter's own process use is theirs, on whatever core is free.
"""

import asyncio
import os
from typing import Any

from benchmarks.support import load
from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.peers import FASTAPI, bare_sanic, started
from benchmarks.support.population import populate
from benchmarks.support.processes import pin
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.stored import database_url
from benchmarks.support.system import UNLIMITED, running
from veza.config.secrets import load_secrets

CONNECTIONS = 32
OF_SANIC, OF_FASTAPI = 0.6, 1.3
SETTINGS = {**UNLIMITED, "VEZA_GATEWAYS": "1"}
HEALTH, ME = "/api/v1/health", "/api/v1/users/me"

Runs = dict[str, list[dict[str, Any]]]


def measure(options: Options) -> Answer:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("benchmarks: two cores are needed, one for the server and one for the client.")
    with running(**SETTINGS) as system:
        somebody = asyncio.run(populate(system, 1))[0]
        data = {"DATABASE_URL": database_url(system.home), "USER_ID": str(somebody.id)}
        theirs = {**data, "JWT_SECRET": load_secrets(system.home / "data").jwt_secret, "LIMIT": "1000000/second"}
        with bare_sanic(**data) as sanic, started(FASTAPI, **theirs) as fastapi:
            peers = [sanic, fastapi]
            for process in (*system.actors("Gateway"), *peers):
                pin(process.pid, cores[0])
            header = f"Authorization: Bearer {somebody.api_token}"
            ports = {"ours": system.port, **{peer.name: peer.port for peer in peers}}
            asked = {path: _in_turns(ports, path, header, cores[1], options) for path in (HEALTH, ME)}
    figures = [
        figure
        for path, what in ((HEALTH, "GET /health, one core"), (ME, "GET /users/me, one core"))
        for figure in _figures(what, asked[path], [peer.name for peer in peers])
    ]
    return Answer(figures=figures, settings=SETTINGS, details=asked)


def _in_turns(ports: dict[str, int], path: str, header: str, core: int, options: Options) -> Runs:
    seen: Runs = {name: [] for name in ports}
    for _ in range(options.runs):
        for name, where in ports.items():
            seen[name].append(load.get(where, path, CONNECTIONS, options.seconds, core=core, header=header))
    return seen


def _figures(name: str, seen: Runs, peers: list[str]) -> list[Figure]:
    rates = {who: [run["requests"] / run["seconds"] for run in runs] for who, runs in seen.items()}
    return [
        Figure(
            name=f"{name}, beside {peer}",
            unit="requests/s",
            runs=rates["ours"],
            peers=[PeerRuns(name=peer, runs=rates[peer])],
            target=target,
            of_ratio=True,
        )
        for peer, target in zip(peers, (OF_SANIC, OF_FASTAPI), strict=True)
    ]


QUESTION = Question("edge", "What does everything around a handler cost?", measure, runs=5, seconds=3.0)

if __name__ == "__main__":
    ask(QUESTION)
