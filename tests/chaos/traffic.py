"""People who all talk in all rooms, and readers who write down what they are shown."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Self

from checker import Ack, Event, Record, Sent, problems
from link import RETRY_S, Link, Lost
from system.people import People, Person
from system.sockets import Frame
from system.waiting import until, within

ROOMS = 6
WRITERS = 3
READERS = 3
# Each so many messages a writer sends one once more, as a client does whose answer got lost.
REPEAT_EVERY = 7
# A restless reader reconnects after so many events.
RESTLESS_EVENTS = 150
PAUSE_S = 0.02
FLOW_S = 45.0


def event_of(message: Frame) -> Event:
    return Event(message["seq"], message["id"], message["sender"]["id"], message["client_msg_id"], message["content"])


class Reader:
    """Follows every room over one connection, and resumes by `last_seq` whenever that is lost."""

    def __init__(self, person: Person, rooms: Sequence[str], *, restless: bool) -> None:
        self.streams: dict[str, list[Event]] = {room_id: [] for room_id in rooms}
        self.link = Link(person, self._show, self._join)
        self._restless = restless
        self._since_cut = 0
        self._cutting: asyncio.Task[None] | None = None

    def _show(self, frame: Frame) -> None:
        if "seq" not in frame:
            return
        self.streams[frame["room_id"]].append(event_of(frame))
        self._since_cut += 1
        if self._restless and self._since_cut >= RESTLESS_EVENTS:
            self._since_cut = 0
            self._cutting = asyncio.create_task(self.link.cut(), name="restless")

    def _page(self, data: Any) -> None:
        self.streams[data["room_id"]].extend(event_of(message) for message in data["events"])

    async def _join(self) -> None:
        await asyncio.gather(*(self._join_room(room_id) for room_id in self.streams))

    async def _join_room(self, room_id: str) -> None:
        more = True
        while more:
            last = self.streams[room_id]
            page = await self.link.call("join_room", self._page, room_id=room_id, last_seq=last[-1].seq if last else 0)
            more = page["has_more"]

    async def finish(self) -> None:
        if self._cutting is not None:
            await self._cutting


class Traffic:
    """`async with` lets it flow; `verdict` ends it and says what is wrong."""

    def __init__(self, people: People) -> None:
        self.record = Record()
        self.longest_silence = 0.0  # seconds in which nobody was answered in some one room
        self._last_ack: dict[str, float] = {}  # room → when
        self._people = people
        self._numbers = itertools.count(1)
        self._talking = True
        self._done: dict[str, int] = {}  # lane → its acknowledged messages
        self._tasks: list[asyncio.Task[None]] = []
        self._lanes: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.owner, *others = [await self._people.register() for _ in range(WRITERS + READERS)]
        self.rooms = [await self.owner.room(*others, name=f"Room {number}") for number in range(ROOMS)]
        writers = [self.owner, *others[: WRITERS - 1]]
        self.readers = [
            Reader(person, self.rooms, restless=number == 0) for number, person in enumerate(others[WRITERS - 1 :])
        ]
        for reader in self.readers:
            self._start(reader.link.run(), self._tasks)
        for person in writers:
            link = Link(person)
            self._start(link.run(), self._tasks)
            for room_id in self.rooms:
                self._start(self._talk(link, person, room_id), self._lanes)
        return self

    def _start(self, work: Any, among: list[asyncio.Task[None]]) -> None:
        among.append(asyncio.create_task(work))

    async def __aexit__(self, *_: object) -> None:
        for task in (*self._lanes, *self._tasks):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._lanes, *self._tasks, return_exceptions=True)
        for reader in self.readers:
            await reader.finish()

    # -- writing ---------------------------------------------------------------------------------------------

    async def _talk(self, link: Link, person: Person, room_id: str) -> None:
        lane = f"{person.username} in {room_id}"
        self._done[lane] = 0
        while self._talking:
            number = next(self._numbers)
            sent = Sent(room_id, person.id, f"m{number}")
            self.record.content[sent] = f"message {number}"
            self.record.lanes.setdefault(lane, []).append(sent)
            await self._send(link, sent)
            if number % REPEAT_EVERY == 0:
                await self._send(link, sent)
            self._done[lane] += 1
            await asyncio.sleep(PAUSE_S)

    async def _send(self, link: Link, sent: Sent) -> None:
        """Until it is acknowledged, always with the same id."""
        body: dict[str, Any] = {
            "room_id": sent.room_id,
            "content": self.record.content[sent],
            "client_msg_id": sent.client_msg_id,
        }
        while True:
            try:
                stored = await link.call("send_message", **body)
                break
            except Lost:
                await asyncio.sleep(RETRY_S)
        self.record.acks.append(Ack(sent, stored["seq"], stored["message_id"], stored["duplicate"]))
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self._last_ack.get(sent.room_id, now))
        self._last_ack[sent.room_id] = now

    # -- watching --------------------------------------------------------------------------------------------

    async def flows(self, messages: int = 5) -> None:
        """Wait until every writer has had that many more messages acknowledged in every room."""
        before = dict(self._done)

        async def enough() -> bool:
            self._look_after()
            return len(self._done) == ROOMS * WRITERS and all(
                count >= before.get(lane, 0) + messages for lane, count in self._done.items()
            )

        await until(enough, f"{messages} more messages of each writer in each room", FLOW_S)

    def _look_after(self) -> None:
        """A lane or a connection that failed says why, at once."""
        for task in (*self._lanes, *self._tasks):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise AssertionError("the traffic broke") from error

    async def verdict(self) -> list[str]:
        """Let what is under way end, let the readers catch up, and compare everything."""
        self._talking = False
        async with within(FLOW_S, "the last messages to be acknowledged"):
            await asyncio.gather(*self._lanes)
        histories = {
            room_id: [event_of(message) for message in await self.owner.history(room_id)] for room_id in self.rooms
        }

        async def caught_up() -> bool:
            self._look_after()
            return all(
                len(reader.streams[room_id]) >= len(history)
                for reader in self.readers
                for room_id, history in histories.items()
            )

        # When it does not come, the comparison says precisely who lacks what.
        with suppress(AssertionError):
            await until(caught_up, "the readers to be shown everything", 15.0)
        streams = {f"reader {number}": reader.streams for number, reader in enumerate(self.readers)}
        return problems(self.record, histories, streams)
