"""Streams of a running platform: whose they are, who publishes them, and who plays them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from benchmarks.support.paths import ROOT
from benchmarks.support.people import at_once
from benchmarks.support.population import Resident
from benchmarks.support.processes import Talker, talking
from benchmarks.support.system import System
from benchmarks.video.film import KEY_S, SECONDS, Film

START_S = 120.0
ANSWER_S = 30.0
_MODULE = (sys.executable, "-m")


class Place(NamedTuple):
    """Where a stream is published, and where the playlists of it will be."""

    rtmp: str
    directory: str

    def playlist(self, name: str) -> str:
        return f"{self.directory}/{name}"


async def places(system: System, crowd: Sequence[Resident]) -> list[Place]:
    """Of the stream that each of these people will start next."""
    async with httpx.AsyncClient(base_url=f"{system.url}/api/v1/live/streams/", timeout=30) as http:
        return await at_once(_place(system, http, person) for person in crowd)


async def _place(system: System, http: httpx.AsyncClient, person: Resident) -> Place:
    headers = {"Authorization": f"Bearer {person.api_token}"}
    key = (await http.get("me/key", headers=headers)).raise_for_status().json()["data"]
    stream = (await http.get(key["stream_id"], headers=headers)).raise_for_status().json()["data"]
    port = urlsplit(key["rtmp_url"]).port
    directory, _, _ = stream["playback_url"].rpartition("/")
    return Place(f"rtmp://127.0.0.1:{port}/live/{key['stream_key']}", f"{system.url}{directory}")


@contextmanager
def publishing(film: Film, urls: Sequence[str]) -> Iterator[Talker]:
    """The film in real time, to all of these; it ends with the block, as encoders end."""
    words = [*_MODULE, "benchmarks.video.publish", str(film.path), str(SECONDS), str(KEY_S)]
    with talking(words, cwd=ROOT) as talker:
        talker.ask("\n".join(urls) + "\n", START_S)
        yield talker
        talker.ask("end", ANSWER_S)


@contextmanager
def clock_encoder(urls: Sequence[str]) -> Iterator[Talker]:
    """A picture with a clock, as one stream to each of these."""
    with talking([*_MODULE, "benchmarks.video.clock_encoder", str(KEY_S), *urls], cwd=ROOT) as talker:
        talker.read(START_S)
        yield talker
        talker.ask("end", ANSWER_S)


@contextmanager
def player(kind: str, url: str) -> Iterator[Talker]:
    """Asked for a number of seconds, it plays them; `kind` is `parts` or `segments`."""
    with talking([*_MODULE, "benchmarks.video.player", kind, url], cwd=ROOT) as talker:
        talker.read(START_S)
        yield talker
