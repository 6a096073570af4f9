"""What a terminal chat does, whatever it is shown on: the open room, its events, the state of others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self

from veza.cli.chat_files import FileCommands
from veza.cli.chat_help import explain, overview
from veza.cli.chat_lines import Lines, notification_line, refusal_line, title
from veza.cli.chat_messages import MessageCommands
from veza.cli.chat_moderation import ModerationCommands
from veza.cli.chat_people import PeopleCommands
from veza.cli.chat_rooms import RoomCommands
from veza.cli.chat_roster import Roster
from veza.cli.chat_tasks import stop, until_ended
from veza.cli.chat_text import ERROR, Line, harmless, note
from veza.cli.chat_timeline import Timeline
from veza.client import (
    Account,
    Chat,
    Client,
    ClientError,
    Connected,
    Conversation,
    Disconnected,
    Durable,
    Message,
    Notification,
    Presence,
    Room,
    SessionEnded,
    Typing,
)

_log = logging.getLogger(__name__)

Run = Callable[[str], Awaitable[None]]
_FIRST_HISTORY = 20
_ECHO_S = 5.0


class ChatSession:
    """Use as an async context manager. `show` prints a line, `changed` is told when `status` may differ."""

    def __init__(
        self, veza: Client, chat: Chat, me: Account, show: Callable[[Line], None], changed: Callable[[], None]
    ) -> None:
        self.veza = veza
        self.chat = chat
        self.me = me
        self.room: Room | None = None
        self.conversation: Conversation | None = None
        self.show = show
        self.changed = changed
        self.roster = Roster(me.id)
        self.timeline = Timeline()
        self.lines = Lines(me, self.timeline.by_id)
        self.more: Callable[[], Awaitable[None]] | None = None
        self.rooms = RoomCommands(self)
        self._table: dict[str, Run] = {
            "/help": self._help,
            "/more": self._more,
            **self.rooms.table,
            **MessageCommands(self).table,
            **FileCommands(self).table,
            **PeopleCommands(self).table,
            **ModerationCommands(self).table,
        }
        self._link_state = "connected"
        self._events: asyncio.Task[None] | None = None  # ends, or raises, with the connection
        self._reader: asyncio.Task[None] | None = None
        self._shown = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._events = asyncio.create_task(self._watch(), name="chat-events")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop(self._events)
        await stop(self._reader)

    async def until_ended(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`, but stop when the connection has ended for good: then what ended it is raised."""
        await until_ended(work, self._events)

    @property
    def commands(self) -> list[str]:
        """The names of the commands."""
        return sorted([*self._table, "/quit"])

    def status(self) -> str:
        """The state in one line: connection, room, who is here, who types."""
        room = title(self.conversation) if self.conversation is not None else "no room: /rooms, /help"
        parts = [self._link_state, room]
        if self.roster.here:
            parts.append(f"{len(self.roster.here)} here")
        writing = self.roster.writing(asyncio.get_running_loop().time())
        if writing:
            parts.append(f"{', '.join(writing)} {'is' if len(writing) == 1 else 'are'} typing…")
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
        if not line.startswith("/") or line.startswith("//"):
            await self.settle(await self.say(line.removeprefix("/")))
            return True
        name, _, rest = line.partition(" ")
        if name in ("/quit", "/exit"):
            return False
        command = self._table.get(name)
        if command is None:
            raise ClientError(f"There is no {harmless(name)}; /help lists what there is.")
        if name != "/more":
            self.more = None
        await command(rest.strip())
        return True

    async def say(self, content: str) -> int:
        """Send to the open room; return the seq."""
        return (await self.opened().send(content)).seq

    def opened(self) -> Room:
        if self.room is None:
            raise ClientError("No room is open: /rooms lists yours, /create NAME makes one.")
        return self.room

    async def open(self, wanted: str) -> None:
        """Open a room by its number in the last list, its id or its name."""
        await self.rooms.open(wanted)

    async def until_shown(self, seq: int) -> None:
        """Wait until the open room has been printed up to `seq`, or has ended."""
        room = self.opened()
        async with self._shown:
            await self._shown.wait_for(lambda: (room.last_seq or 0) >= seq or not room.open)

    async def settle(self, seq: int) -> None:
        """What a command did is shown before the next one, which may be about it; not for long when it is cut off."""
        if self.room is None:
            return
        try:
            async with asyncio.timeout(_ECHO_S):
                await self.until_shown(seq)
        except TimeoutError:
            _log.debug("event %d is stored and not shown yet", seq)

    # The open room.

    async def enter(self, conversation: Conversation) -> None:
        """Show the last messages of a room, and then what happens in it."""
        page = await self.veza.conversations.history(conversation.id, _FIRST_HISTORY)
        if self.room is not None:
            await self.room.leave()
        await stop(self._reader)
        newest = max((message.seq for message in page.messages), default=0)
        # From before the page was read: what came between the calls is not missed, and a message not shown twice.
        room = await self.chat.join(conversation.id, max(conversation.last_seq, newest))
        self.room, self.conversation = room, conversation
        self.timeline.clear()
        self.roster.clear()
        await self.look_around()
        self.show(note(f"{title(conversation)}  ({conversation.type}, {conversation.id})"))
        if page.first_seq > 1 and not page.has_more:
            self.show(note(f"what came before #{page.first_seq} is gone: this room does not keep it for ever"))
        self.show_messages(page.messages)
        self._reader = asyncio.create_task(self._read(room), name="chat-reader")
        if room.last_seq:
            await self._mark_read(room, room.last_seq)
        self.changed()

    async def close(self, told: str) -> None:
        """The open room is left."""
        if self.room is not None:
            await self.room.leave()
        await stop(self._reader)
        self.room, self.conversation = None, None
        self.show(note(told))
        self.changed()

    def show_messages(self, messages: list[Message]) -> None:
        """Print a page, oldest first."""
        for message in sorted(messages, key=lambda one: one.seq):
            self._learn(message)
            self.show(self.lines.message(message))

    async def look_around(self) -> None:
        """Who is in the room, and who of them is here."""
        self.roster.take((await self.opened().members()).members)

    async def _read(self, room: Room) -> None:
        try:
            async for event in room:
                self._learn(event)
                self.show(self.lines.event(event))
                async with self._shown:
                    self._shown.notify_all()
                if not room.backlog:
                    await self._mark_read(room, event.seq)
        except ClientError as error:
            self.show(note(f"the room is closed: {harmless(error.message)}", ERROR))
        if self.room is room:
            self.room, self.conversation = None, None
            self.changed()
        async with self._shown:
            self._shown.notify_all()

    async def _mark_read(self, room: Room, seq: int) -> None:
        try:
            await room.mark_read(seq)
        except ClientError as error:
            # A mark is only a courtesy; what is really wrong, the next event or message will say.
            _log.debug("not marked as read: %s", error)

    def _learn(self, event: Durable) -> None:
        self.timeline.apply(event)
        self.roster.learn(event)

    # What happens by itself.

    async def _watch(self) -> None:
        async for event in self.chat.events():
            match event:
                case Connected():
                    self._link_state = "connected"
                case Disconnected():
                    self._link_state = f"reconnecting ({harmless(event.reason)})"
                case Typing() if self.room is not None and event.room_id == self.room.id:
                    self.roster.typing(event, asyncio.get_running_loop().time())
                case Presence() if self.room is not None and event.room_id in (None, self.room.id):
                    self.roster.presence(event)
                case Notification():
                    self.show(notification_line(event))
            self.changed()

    async def _more(self, _: str) -> None:
        if self.more is None:
            raise ClientError("There is no more: /search, /thread and /history go on with /more.")
        more, self.more = self.more, None
        await more()

    async def _help(self, wanted: str) -> None:
        lines = explain(wanted) if wanted else overview()
        if not lines:
            raise ClientError(f"There is no help on {harmless(wanted)}; /help lists what there is.")
        for line in lines:
            self.show(line)
