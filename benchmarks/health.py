"""Health: what do the envelope, request ids, headers, logs and metrics around a handler cost?

`GET /api/v1/health`, 32 kept connections, one gateway on one core and the client on another. The peer is the same
answer from a Sanic application with nothing around it, on the same core, in turns.
"""

import os

from benchmarks.support import load
from benchmarks.support.figures import Figure, PeerRuns
from benchmarks.support.peers import bare_sanic
from benchmarks.support.processes import pin
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.system import UNLIMITED, running

PATH = "/api/v1/health"
CONNECTIONS = 32
TARGET = 0.6
SETTINGS = {**UNLIMITED, "VEZA_GATEWAYS": "1"}


def measure(options: Options) -> Answer:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("benchmarks: two cores are needed, one for the server and one for the client.")
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    with running(**SETTINGS) as system, bare_sanic() as peer:
        pin(peer.pid, cores[0])
        for gateway in system.actors("Gateway"):
            pin(gateway.pid, cores[0])
        for _ in range(options.runs):
            for name, port in (("peer", peer.port), ("ours", system.port)):
                seen[name].append(load.get(port, PATH, CONNECTIONS, options.seconds, cores[1]))
    figure = Figure(
        name="GET /health, one core",
        unit="requests/s",
        runs=[run["requests"] / run["seconds"] for run in seen["ours"]],
        peers=[PeerRuns(name="bare Sanic", runs=[run["requests"] / run["seconds"] for run in seen["peer"]])],
        target=TARGET,
        of_ratio=True,
    )
    return Answer(figures=[figure], settings=SETTINGS, details=dict(seen))


QUESTION = Question("health", "What does everything around a handler cost?", measure, runs=5, seconds=3.0)

if __name__ == "__main__":
    ask(QUESTION)
