"""What a terminal does that watches a live stream, whatever it is shown on."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from veza.cli.chat_lines import refusal_line
from veza.cli.chat_roster import is_id
from veza.cli.chat_tasks import stop, until_ended
from veza.cli.chat_text import DIM, ERROR, Line, harmless, name_of, note, same_name, seconds
from veza.cli.live_lines import applause, event_line, figure_line, named, state, viewers
from veza.client import (
    Account,
    Chat,
    ClientError,
    Connected,
    Disconnected,
    SessionEnded,
    StreamEvent,
    StreamMessage,
    StreamMessageDeleted,
    StreamReactions,
    WatchedStream,
)

_log = logging.getLogger(__name__)

_ECHO_S = 5.0
# Of a chat that never ends, whose messages can still be named.
_REMEMBERED = 1000
# How long reactions are shown on a screen.
_APPLAUSE_S = 3.0

_HELP = (
    ("/react EMOJI", "show an emoji to everybody who watches"),
    ("/delete N", "delete message N: one's own, or as a moderator anybody's"),
    ("/mute PERSON [TIME] [REASON]", "they may read and not write; TIME is like 30s, 10m, 2h"),
    ("/unmute PERSON", "they may write again"),
    ("/ban PERSON [TIME] [REASON]", "they are told nothing more"),
    ("/unban PERSON", "they may watch again"),
    ("/address", "where the pictures are, for a player"),
    ("//text", "send text that begins with a slash"),
    ("/quit", "goodbye; Ctrl-D does the same"),
)
NAMES = sorted({usage.split(" ")[0] for usage, _ in _HELP} - {"//text"} | {"/help"})


class LiveSession:
    """Use as an async context manager. `show` prints a line, `changed` is told when `status` may differ; without a
    screen, figures are lines too. `me` is None for somebody anonymous.
    """

    def __init__(
        self,
        chat: Chat,
        stream: WatchedStream,
        me: Account | None,
        show: Callable[[Line], None],
        changed: Callable[[], None],
        *,
        screen: bool,
        base_url: str = "",
    ) -> None:
        self.chat = chat
        self.stream = stream
        self.me = me
        self.show = show
        self.changed = changed
        self._screen = screen
        self._base_url = base_url
        self._messages: OrderedDict[int, StreamMessage] = OrderedDict()  # the last ones that were shown, by seq
        self._people: dict[str, str] = {}  # ids of those who wrote, by name
        self._applause = ("", 0.0)  # and until when it is shown
        self._link_state = "connected"
        self._table: dict[str, Callable[[str], Awaitable[None]]] = {
            "/help": self._help,
            "/react": self.stream.react,
            "/delete": self._delete,
            "/mute": self._mute,
            "/unmute": self._unmute,
            "/ban": self._ban,
            "/unban": self._unban,
            "/address": self._address,
        }
        self._events: asyncio.Task[None] | None = None  # ends, or raises, with the connection
        self._reader: asyncio.Task[None] | None = None
        self._shown = asyncio.Condition()
        self._ended = asyncio.Event()  # the stream

    async def __aenter__(self) -> Self:
        self.show(note(f"{named(self.stream.stream)}  {self.stream.id}"))
        self._events = asyncio.create_task(self._watch(), name="live-events")
        self._reader = asyncio.create_task(self._read(), name="live-reader")
        if self.stream.stream.status == "ended":
            self._ended.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop(self._events)
        await stop(self._reader)

    async def until_ended(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`, but stop when the connection has ended for good: then what ended it is raised."""
        await until_ended(work, self._events)

    async def until_over(self) -> None:
        """Wait until the stream has ended, and all that was said in it is shown."""
        await self._ended.wait()
        await self.settle(self.stream.last_seq or 0)

    def status(self) -> str:
        """The state in one line: connection, stream, who watches, applause."""
        stream = self.stream.stream
        parts = [self._link_state, state(stream, datetime.now(UTC)), named(stream), viewers(self.stream.viewer_count)]
        reactions, until = self._applause
        if until > asyncio.get_running_loop().time():
            parts.append(reactions)
        return "  │  ".join(parts)

    async def handle(self, line: str) -> bool:
        """A line of input: a command or a message. False when it was the last. A refusal is shown."""
        try:
            return await self.execute(line)
        except SessionEnded:
            raise
        except ClientError as error:
            self.show(refusal_line(error))
            return True

    async def execute(self, line: str) -> bool:
        """As `handle`, raising the refusal."""
        line = line.strip()
        if not line:
            return True
        name, _, rest = line.partition(" ")
        if name in ("/quit", "/exit"):
            return False
        if self.me is None and name not in ("/help", "/address"):
            raise ClientError("Only those who are signed in take part: leave out --anonymous.")
        if not line.startswith("/") or line.startswith("//"):
            await self.settle((await self.stream.send(line.removeprefix("/"))).seq)
            return True
        command = self._table.get(name)
        if command is None:
            raise ClientError(f"There is no {harmless(name)}; /help lists what there is.")
        await command(rest.strip())
        return True

    async def settle(self, seq: int) -> None:
        """What was said is shown before what comes next; not for long when it is cut off."""
        try:
            async with asyncio.timeout(_ECHO_S), self._shown:
                await self._shown.wait_for(lambda: seq <= next(reversed(self._messages), 0) or not self.stream.open)
        except TimeoutError:
            _log.debug("message %d is stored and not shown yet", seq)

    # What happens by itself.

    async def _read(self) -> None:
        try:
            async for event in self.stream:
                self._take(event)
                async with self._shown:
                    self._shown.notify_all()
        except ClientError as error:
            self.show(note(f"the stream is closed: {harmless(error.message)}", ERROR))
        self._ended.set()
        async with self._shown:
            self._shown.notify_all()

    def _take(self, event: StreamEvent) -> None:
        about = self._find(event.message_id) if isinstance(event, StreamMessageDeleted) else None
        if isinstance(event, StreamMessage):
            self._learn(event)
        elif isinstance(event, StreamReactions):
            self._applause = applause(event), asyncio.get_running_loop().time() + _APPLAUSE_S
        line = event_line(event, self.stream.stream, about) or (None if self._screen else figure_line(event))
        if line is not None:
            self.show(line)
        if self.stream.stream.status == "ended":
            self._ended.set()
        self.changed()

    def _learn(self, message: StreamMessage) -> None:
        self._messages[message.seq] = message
        if len(self._messages) > _REMEMBERED:
            self._messages.popitem(last=False)
        if message.sender is not None:
            self._people[name_of(message.sender)] = message.sender.id

    def _find(self, message_id: str) -> StreamMessage | None:
        return next((message for message in self._messages.values() if message.id == message_id), None)

    async def _watch(self) -> None:
        async for event in self.chat.events():
            match event:
                case Connected():
                    self._link_state = "connected"
                case Disconnected():
                    self._link_state = f"reconnecting ({harmless(event.reason)})"
            self.changed()

    # Commands.

    async def _help(self, _: str) -> None:
        self.show([("", "  A line is a message. Commands begin with a slash:")])
        for usage, meaning in _HELP:
            self.show([(DIM, f"  {usage:30}"), ("", meaning)])

    async def _address(self, _: str) -> None:
        self.show([("", f"{self._base_url}{(await self.stream.playback()).playback_url}")])

    async def _delete(self, wanted: str) -> None:
        number = wanted.removeprefix("#")
        message = self._messages.get(int(number)) if number.isdecimal() else None
        if message is None:
            raise ClientError("Usage: /delete N, the number that stands before a message.")
        await self.stream.delete(message.id)

    async def _mute(self, rest: str) -> None:
        user_id, duration_s, reason = self._sentence(rest, "/mute PERSON [TIME] [REASON]")
        await self.stream.mute(user_id, duration_s, reason)
        self.show(note("they may read and not write"))

    async def _unmute(self, rest: str) -> None:
        await self.stream.lift(self._person(rest, "/unmute PERSON"), "mute")
        self.show(note("they may write again"))

    async def _ban(self, rest: str) -> None:
        user_id, duration_s, reason = self._sentence(rest, "/ban PERSON [TIME] [REASON]")
        await self.stream.ban(user_id, duration_s, reason)
        self.show(note("they are told nothing more"))

    async def _unban(self, rest: str) -> None:
        await self.stream.lift(self._person(rest, "/unban PERSON"), "ban")
        self.show(note("they may watch again"))

    def _sentence(self, rest: str, usage: str) -> tuple[str, int | None, str]:
        """Whom, for how long, and why."""
        name, _, rest = rest.partition(" ")
        word, _, reason = rest.strip().partition(" ")
        duration_s = seconds(word)
        return self._person(name, usage), duration_s, reason.strip() if duration_s is not None else rest.strip()

    def _person(self, wanted: str, usage: str) -> str:
        """The id of somebody, by it or by the name of who wrote here. Raises `ClientError`."""
        wanted = wanted.strip().removeprefix("@")
        if not wanted:
            raise ClientError(f"Usage: {usage}")
        if is_id(wanted):
            return wanted
        for name, user_id in self._people.items():
            if same_name(name, wanted):
                return user_id
        raise ClientError(f"Nobody called {harmless(wanted)} has written here; give a user id.")
