"""Commands on rooms: listing, opening, making, leaving."""

from typing import TYPE_CHECKING

from veza.cli.chat_lines import conversation_line, public_line, title
from veza.cli.chat_roster import is_id
from veza.cli.chat_text import Line, harmless, note, same_name
from veza.client import ClientError, Conversation, NotFound

if TYPE_CHECKING:
    from veza.cli.chat_session import ChatSession, Run


class RoomCommands:
    """Remembers the last list, whose numbers name rooms."""

    def __init__(self, session: "ChatSession") -> None:
        self._session = session
        self._veza = session.veza
        self._listed: list[str] = []
        self.table: dict[str, Run] = {
            "/rooms": self._rooms,
            "/public": self._public,
            "/create": self._create,
            "/create-public": self._create_public,
            "/dm": self._direct,
            "/open": self.open,
            "/join": self._join,
            "/leave": self._leave,
            "/rename": self._rename,
            "/keep": self._keep,
        }

    async def open(self, wanted: str) -> None:
        """Open a room by its number in the last list, its id or its name; its last messages are shown."""
        if wanted.isdigit() and not self._listed:
            self._listed = [room.id for room in await self._all_mine()]
        room_id = self._numbered(wanted) or (wanted if is_id(wanted) else await self._by_name(wanted))
        await self._session.enter(await self._veza.conversations.get(room_id))

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
        found = [room for room in await self._all_mine() if same_name(title(room), name)]
        if not found:
            raise NotFound(f"You are in no room called {harmless(name)}; /rooms lists yours, /public others.")
        if len(found) > 1:
            raise ClientError(f"{len(found)} rooms are called {harmless(name)}; open one by its id.")
        return found[0].id

    async def _rooms(self, _: str) -> None:
        rooms = await self._all_mine()
        lines = [conversation_line(number, room) for number, room in enumerate(rooms, 1)]
        self._list([room.id for room in rooms], lines, "/open N opens one")
        if not rooms:
            self._session.show(note("You are in no room yet: /create NAME, or /public."))

    async def _public(self, q: str) -> None:
        rooms = (await self._veza.conversations.discover(q or None, limit=100)).conversations
        lines = [public_line(number, room) for number, room in enumerate(rooms, 1)]
        self._list([room.id for room in rooms], lines, "/join N makes you a member of one")
        if not rooms:
            self._session.show(note("There is no such room: /create-public NAME makes one."))

    async def _all_mine(self) -> list[Conversation]:
        rooms: list[Conversation] = []
        while True:
            page = await self._veza.conversations.mine(limit=100, offset=len(rooms))
            rooms += page.conversations
            if len(rooms) >= page.total or not page.conversations:
                return rooms

    def _list(self, ids: list[str], lines: list[Line], hint: str) -> None:
        self._listed = ids
        for line in lines:
            self._session.show(line)
        if lines:
            self._session.show(note(hint))

    async def _create(self, name: str) -> None:
        await self._session.enter(await self._veza.conversations.create("group", given(name, "/create NAME")))

    async def _create_public(self, name: str) -> None:
        await self._session.enter(await self._veza.conversations.create("public", given(name, "/create-public NAME")))

    async def _direct(self, person: str) -> None:
        user_id = self._session.roster.find(person, "/dm PERSON")
        await self._session.enter(await self._veza.conversations.create("direct", member_ids=[user_id]))

    async def _join(self, room: str) -> None:
        found = self._numbered(room) or given(room, "/join ROOM")
        await self._veza.conversations.join(found)
        await self.open(found)

    async def _leave(self, _: str) -> None:
        await self._veza.conversations.leave(self._session.opened().id)
        await self._session.close("you left the room")

    async def _rename(self, name: str) -> None:
        room_id = self._session.opened().id
        self._session.conversation = await self._veza.conversations.update(room_id, given(name, "/rename NAME"))
        self._session.changed()

    async def _keep(self, days: str) -> None:
        if not days.isdigit():
            raise ClientError("Usage: /keep DAYS, and 0 keeps everything")
        await self._veza.conversations.update(self._session.opened().id, retention_days=int(days))


def given(value: str, usage: str) -> str:
    """What a command needs. Raises `ClientError` when it is missing."""
    if not value:
        raise ClientError(f"Usage: {usage}")
    return value
