"""Sends numbered batches to peers by name, each in order and once, until a peer is dead."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from veza.actors.refs import ActorGone, ActorUnreachable, BatchRef, CallFailed
from veza.actors.tasks import TaskSet
from veza.realtime.rate_window_link import Outgoing

log = logging.getLogger(__name__)

RETRY_S = 0.05


class Couriers:
    """One task a peer, with one batch under way. `encode` makes the bytes of a batch from its number and its items.

    `on_lost` is called when a peer was not reached, and `on_gone` when it is dead: nothing is sent to it any more.
    """

    def __init__(
        self,
        tasks: TaskSet,
        *,
        encode: Callable[[int, list[Any]], bytes],
        connect: Callable[[str], BatchRef],
        on_taken: Callable[[str], None],
        on_lost: Callable[[str], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._tasks = tasks
        self._encode = encode
        self._connect = connect
        self._on_taken = on_taken
        self._on_lost = on_lost
        self._on_gone = on_gone
        # Above those of an earlier link to the same peer.
        self._numbers = itertools.count(1)
        self._links: dict[str, tuple[Outgoing[Any], asyncio.Event, asyncio.Task[None]]] = {}
        self._gone: set[str] = set()

    def send(self, tells: Iterable[tuple[str, Any]]) -> None:
        for peer, item in tells:
            if peer in self._gone:
                continue
            outgoing, wake, _ = self._links.get(peer) or self._open(peer)
            outgoing.put(item)
            wake.set()

    def keep(self, peers: Iterable[str]) -> None:
        """Close the links to all others; what was for them is dropped."""
        for peer in self._links.keys() - set(peers):
            self._links.pop(peer)[2].cancel()
        self._gone.intersection_update(peers)

    def lost(self, peer: str) -> None:
        """Somebody knows that it is dead."""
        self._gone.add(peer)
        if link := self._links.pop(peer, None):
            link[2].cancel()

    def _open(self, peer: str) -> tuple[Outgoing[Any], asyncio.Event, asyncio.Task[None]]:
        outgoing: Outgoing[Any] = Outgoing(self._numbers)
        wake = asyncio.Event()
        task = self._tasks.start(self._run(peer, outgoing, wake), f"courier {peer}")
        link = self._links[peer] = outgoing, wake, task
        return link

    async def _run(self, peer: str, outgoing: Outgoing[Any], wake: asyncio.Event) -> None:
        ref = self._connect(peer)
        # At once, while Ray is still asked whether it is dead.
        ref.on_lost = lambda: self._on_lost(peer)
        try:
            while True:
                await wake.wait()
                wake.clear()
                while batch := outgoing.batch():
                    await self._deliver(ref, *batch)
                    outgoing.arrived(batch[0])
                    self._on_taken(peer)
        except ActorGone:
            self._gone.add(peer)
            self._links.pop(peer, None)
            self._on_gone(peer)
        finally:
            await ref.close()

    async def _deliver(self, ref: BatchRef, number: int, items: list[Any]) -> None:
        """Until it has arrived. Raises ActorGone."""
        data = self._encode(number, items)
        while True:
            try:
                await ref.send(data)
            except (ActorUnreachable, CallFailed) as error:
                log.warning("batch not delivered", extra={"actor": ref.name, "reason": type(error).__name__})
                self._on_lost(ref.name)
                await asyncio.sleep(RETRY_S)
            else:
                return
