"""What a terminal chat does, whatever it is shown on: the open room, the slash commands, the state of others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self
from uuid import UUID

from veza.cli.chat_text import (
    ERROR,
    Line,
    conversation_line,
    event_line,
    harmless,
    member_line,
    name_of,
    note,
    public_line,
    title,
)
from veza.client import (
    Account,
    Chat,
    Client,
    ClientError,
    Connected,
    Conversation,
    Disconnected,
    MemberJoined,
    Message,
    NotFound,
    Notification,
    Presence,
    Room,
    SessionEnded,
    Typing,
)

_log = logging.getLogger(__name__)

# A little longer than the server's 5 s, so that a repeated "is typing" does not flicker.
_TYPING_S = 6.0
_FIRST_HISTORY = 20

HELP = (
    ("/rooms", "your rooms, numbered"),
    ("/public [TEXT]", "public rooms to join, numbered"),
    ("/create NAME", "make a group; /create-public NAME makes a public room"),
    ("/dm USER_ID", "talk to one person"),
    ("/open N", "switch to a room by its number, name or id"),
    ("/join N or ID", "become a member of a public room and open it"),
    ("/leave", "leave the open room for good"),
    ("/invite USER_ID", "add somebody to the open room"),
    ("/members, /who", "everybody in the room; who of them is here"),
    ("/history [N]", "the last N messages (20)"),
    ("/me", "who you are, and your id for invitations"),
    ("/help, /quit", "this; goodbye"),
    ("//text", "send text that begins with a slash"),
)


class ChatSession:
    """Use as an async context manager. `show` prints a line, `changed` is told when `status` may differ."""

    def __init__(
        self, veza: Client, chat: Chat, me: Account, show: Callable[[Line], None], changed: Callable[[], None]
    ) -> None:
        self.veza = veza
        self.chat = chat
        self.me = me
        self.room: Room | None = None
        self._show = show
        self._changed = changed
        self._conversation: Conversation | None = None
        self._listed: list[str] = []  # the ids of the last list
        self._names: dict[str, str] = {}
        self._here: set[str] = set()
        self._typing: dict[str, float] = {}
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
        await _stop(self._events)
        await _stop(self._reader)

    async def until_ended(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`, but stop when the connection has ended for good: then what ended it is raised."""
        working = asyncio.create_task(work, name="chat-work")
        waited = {working} if self._events is None else {working, self._events}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._events is not None and self._events.done():
                self._events.result()
            await working
        finally:
            await _stop(working)

    def status(self) -> str:
        """The state in one line: connection, room, who is here, who types."""
        now = asyncio.get_running_loop().time()
        writing = sorted(self._name(one) for one, until in self._typing.items() if until > now)
        room = title(self._conversation) if self._conversation is not None else "no room: /rooms, /help"
        parts = [self._link_state, room]
        if self._here:
            parts.append(f"{len(self._here)} here")
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
            wait = f" Try again in {error.retry_after:.0f} s." if error.retry_after else ""
            self._show(note(f"{harmless(error.message)}{wait}", ERROR))
            return True

    async def execute(self, line: str) -> bool:
        """As `handle`, raising the refusal."""
        line = line.strip()
        if not line:
            return True
        if not line.startswith("/") or line.startswith("//"):
            await self.say(line.removeprefix("/"))
            return True
        name, _, rest = line.partition(" ")
        if name in ("/quit", "/exit"):
            return False
        command = self._commands().get(name)
        if command is None:
            raise ClientError(f"There is no {name}; /help lists what there is.")
        await command(rest.strip())
        return True

    async def say(self, content: str) -> int:
        """Send to the open room; return the seq."""
        return (await self._opened().send(content)).seq

    async def until_shown(self, seq: int) -> None:
        """Wait until the open room has been printed up to `seq`, or has ended."""
        room = self._opened()
        async with self._shown:
            await self._shown.wait_for(lambda: (room.last_seq or 0) >= seq or not room.open)

    def _commands(self) -> dict[str, Callable[[str], Awaitable[None]]]:
        return {
            "/rooms": self._rooms,
            "/public": self._public,
            "/create": self._create,
            "/create-public": self._create_public,
            "/dm": self._direct,
            "/open": self.open,
            "/join": self._join,
            "/leave": self._leave,
            "/invite": self._invite,
            "/members": self._members,
            "/who": self._who,
            "/history": self._history,
            "/me": self._me,
            "/help": self._help,
        }

    # Rooms.

    async def open(self, wanted: str) -> None:
        """Open a room by its number in the last list, its id or its name; its last messages are shown."""
        if wanted.isdigit() and not self._listed:
            self._listed = [room.id for room in await self._all_mine()]
        room_id = self._numbered(wanted) or (wanted if _is_id(wanted) else await self._by_name(wanted))
        await self._enter(await self.veza.conversations.get(room_id))

    def _numbered(self, wanted: str) -> str | None:
        """The room of that number in the last list; None when it is not a number."""
        if not wanted.isdigit() or not self._listed:
            return None
        if not 1 <= int(wanted) <= len(self._listed):
            raise ClientError(f"The list has the numbers 1 to {len(self._listed)}.")
        return self._listed[int(wanted) - 1]

    async def _by_name(self, name: str) -> str:
        if not name:
            raise ClientError("Which one? /open takes a number, a name or an id.")
        rooms = await self._all_mine()
        found = [room for room in rooms if title(room).casefold() == name.casefold()]
        if not found:
            raise NotFound(f"You are in no room called {harmless(name)}; /rooms lists yours, /public others.")
        if len(found) > 1:
            raise ClientError(f"{len(found)} rooms are called {harmless(name)}; open one by its id.")
        return found[0].id

    async def _enter(self, conversation: Conversation) -> None:
        page = await self.veza.conversations.history(conversation.id, _FIRST_HISTORY)
        if self.room is not None:
            await self.room.leave()
        await _stop(self._reader)
        newest = max((message.seq for message in page.messages), default=None)
        # From the newest message shown: what comes between the two calls is not missed.
        room = await self.chat.join(conversation.id, newest)
        self.room, self._conversation = room, conversation
        self._typing.clear()
        await self._look_around()
        self._show(note(f"{title(conversation)}  ({conversation.type}, {conversation.id})"))
        for message in sorted(page.messages, key=lambda one: one.seq):
            self._learn(message)
            self._show(event_line(message))
        self._reader = asyncio.create_task(self._read(room), name="chat-reader")
        if newest is not None:
            await self._mark_read(room, newest)
        self._changed()

    async def _read(self, room: Room) -> None:
        try:
            async for event in room:
                self._learn(event)
                self._show(event_line(event))
                async with self._shown:
                    self._shown.notify_all()
                if not room.backlog:
                    await self._mark_read(room, event.seq)
        except ClientError as error:
            self._show(note(f"the room is closed: {harmless(error.message)}", ERROR))
        if self.room is room:
            self.room, self._conversation = None, None
            self._changed()
        async with self._shown:
            self._shown.notify_all()

    async def _mark_read(self, room: Room, seq: int) -> None:
        try:
            await room.mark_read(seq)
        except ClientError as error:
            # A mark is only a courtesy; what is really wrong, the next event or message will say.
            _log.debug("not marked as read: %s", error)

    async def _rooms(self, _: str) -> None:
        rooms = await self._all_mine()
        lines = [conversation_line(number, room) for number, room in enumerate(rooms, 1)]
        self._list([room.id for room in rooms], lines, "/open N opens one")
        if not rooms:
            self._show(note("You are in no room yet: /create NAME, or /public."))

    async def _public(self, q: str) -> None:
        rooms = (await self.veza.conversations.public(q or None, limit=100)).conversations
        lines = [public_line(number, room) for number, room in enumerate(rooms, 1)]
        self._list([room.id for room in rooms], lines, "/join N makes you a member of one")
        if not rooms:
            self._show(note("There is no such room: /create-public NAME makes one."))

    async def _all_mine(self) -> list[Conversation]:
        rooms: list[Conversation] = []
        while True:
            page = await self.veza.conversations.mine(limit=100, offset=len(rooms))
            rooms += page.conversations
            if len(rooms) >= page.total or not page.conversations:
                return rooms

    def _list(self, ids: list[str], lines: list[Line], hint: str) -> None:
        self._listed = ids
        for line in lines:
            self._show(line)
        if lines:
            self._show(note(hint))

    async def _create(self, name: str) -> None:
        await self._enter(await self.veza.conversations.create("group", _given(name, "/create NAME")))

    async def _create_public(self, name: str) -> None:
        await self._enter(await self.veza.conversations.create("public", _given(name, "/create-public NAME")))

    async def _direct(self, user_id: str) -> None:
        person = _given(user_id, "/dm USER_ID")
        await self._enter(await self.veza.conversations.create("direct", member_ids=[person]))

    async def _join(self, room_id: str) -> None:
        found = self._numbered(room_id) or _given(room_id, "/join ID")
        await self.veza.conversations.join(found)
        await self.open(found)

    async def _leave(self, _: str) -> None:
        room = self._opened()
        await self.veza.conversations.leave(room.id)
        await room.leave()
        await _stop(self._reader)
        self.room, self._conversation = None, None
        self._show(note("you left the room"))
        self._changed()

    async def _invite(self, user_id: str) -> None:
        await self.veza.conversations.add_member(self._opened().id, _given(user_id, "/invite USER_ID"))

    # People and messages.

    async def _members(self, _: str) -> None:
        for member in (await self._opened().members()).members:
            self._show(member_line(member))

    async def _who(self, _: str) -> None:
        await self._look_around()
        names = sorted(self._name(one) for one in self._here)
        self._show(note(f"here: {', '.join(names)}" if names else "nobody is here"))

    async def _history(self, count: str) -> None:
        limit = int(count) if count.isdigit() and 1 <= int(count) <= 100 else _FIRST_HISTORY
        for message in sorted((await self._opened().history(limit)).messages, key=lambda one: one.seq):
            self._show(event_line(message))

    async def _me(self, _: str) -> None:
        me = await self.veza.me()
        self._show(note(f"{harmless(me.username)} <{harmless(me.email)}>  {me.role}  {me.id}"))

    async def _help(self, _: str) -> None:
        for usage, meaning in HELP:
            self._show([("bold", f"  {usage:18}"), ("", meaning)])

    async def _look_around(self) -> None:
        members = (await self._opened().members()).members
        self._names |= {member.user.id: name_of(member.user) for member in members}
        self._here = {one.user.id for one in members if one.presence not in (None, "offline", "invisible")}

    # What happens by itself.

    async def _watch(self) -> None:
        async for event in self.chat.events():
            match event:
                case Connected():
                    self._link_state = "connected"
                case Disconnected():
                    self._link_state = f"reconnecting ({harmless(event.reason)})"
                case Typing() if self.room is not None and event.room_id == self.room.id:
                    self._note_typing(event)
                case Presence() if self.room is not None and event.room_id in (None, self.room.id):
                    self._note_presence(event)
                case Notification():
                    self._show(note(f"notification: {harmless(event.kind)}"))
            self._changed()

    def _note_typing(self, event: Typing) -> None:
        if not event.is_typing or event.user_id == self.me.id:
            self._typing.pop(event.user_id, None)
        else:
            self._typing[event.user_id] = asyncio.get_running_loop().time() + _TYPING_S

    def _note_presence(self, event: Presence) -> None:
        if event.status in ("offline", "invisible"):
            self._here.discard(event.user_id)
        elif event.user_id in self._names:
            self._here.add(event.user_id)

    def _learn(self, event: object) -> None:
        if isinstance(event, MemberJoined):
            self._names[event.user.id] = name_of(event.user)
        elif isinstance(event, Message) and event.sender is not None:
            self._names[event.sender.id] = name_of(event.sender)
            self._typing.pop(event.sender.id, None)

    def _name(self, user_id: str) -> str:
        return self._names.get(user_id, harmless(user_id[:8]))

    def _opened(self) -> Room:
        if self.room is None:
            raise ClientError("No room is open: /rooms lists yours, /create NAME makes one.")
        return self.room


def _given(value: str, usage: str) -> str:
    if not value:
        raise ClientError(f"Usage: {usage}")
    return value


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


async def _stop(task: asyncio.Task[None] | None) -> None:
    """End a task; what it failed with is raised, except for what `until_ended` has told already."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, ClientError):
            raise failure
