"""Commands on people and on oneself."""

import asyncio
from typing import TYPE_CHECKING, get_args

from veza.cli.chat_lines import member_line, notification_line
from veza.cli.chat_rooms import given
from veza.cli.chat_text import harmless, name_of, note
from veza.client import ClientError, Status

if TYPE_CHECKING:
    from veza.cli.chat_session import ChatSession, Run

_PAGE = 20


class PeopleCommands:
    def __init__(self, session: "ChatSession") -> None:
        self._session = session
        self._veza = session.veza
        self.table: dict[str, Run] = {
            "/members": self._members,
            "/who": self._who,
            "/invite": self._invite,
            "/status": self._status,
            "/block": self._block,
            "/unblock": self._unblock,
            "/blocks": self._blocks,
            "/me": self._me,
            "/notifications": self._notifications,
        }

    async def _members(self, _: str) -> None:
        members = (await self._session.opened().members()).members
        self._session.roster.take(members)
        for member in members:
            self._session.show(member_line(member))

    async def _who(self, _: str) -> None:
        await self._session.look_around()
        roster = self._session.roster
        names = sorted(roster.name(one) for one in roster.here)
        self._session.show(note(f"here: {', '.join(names)}" if names else "nobody is here"))
        writing = roster.writing(asyncio.get_running_loop().time())
        if writing:
            self._session.show(note(f"typing: {', '.join(writing)}"))

    async def _invite(self, user_id: str) -> None:
        await self._veza.conversations.add_member(self._session.opened().id, given(user_id, "/invite USER_ID"))

    async def _status(self, wanted: str) -> None:
        if not wanted:
            self._session.show(note(self._session.status()))
            return
        for status in get_args(Status):
            if status == wanted.lower():
                await self._veza.set_presence(status)
                self._session.show(note(f"you are {status} to others"))
                return
        raise ClientError(f"A status is one of {', '.join(get_args(Status))}.")

    async def _block(self, person: str) -> None:
        user_id = self._session.roster.find(person, "/block PERSON")
        await self._veza.block(user_id)
        self._session.show(note(f"{self._session.roster.name(user_id)} cannot write to you any more"))

    async def _unblock(self, person: str) -> None:
        for block in (await self._veza.blocks(limit=100)).blocks:
            self._session.roster.meet(block.user)
        user_id = self._session.roster.find(person, "/unblock PERSON")
        await self._veza.unblock(user_id)
        self._session.show(note(f"{self._session.roster.name(user_id)} may write to you"))

    async def _blocks(self, _: str) -> None:
        page = await self._veza.blocks(limit=100)
        for block in page.blocks:
            self._session.show(note(f"{name_of(block.user)}  {block.user.id}"))
        if not page.blocks:
            self._session.show(note("you have blocked nobody"))

    async def _me(self, _: str) -> None:
        me = await self._veza.me()
        self._session.show(note(f"{harmless(me.username)} <{harmless(me.email)}>  {me.role}  {me.id}"))

    async def _notifications(self, wanted: str) -> None:
        word, _, kind = wanted.partition(" ")
        match word:
            case "" | "all":
                await self._list(unread=not word)
            case "read":
                marked = await self._veza.notifications.mark_read()
                self._session.show(note(f"{marked.marked} marked as read"))
            case "on" | "off" if kind:
                await self._veza.notifications.set_preferences({kind: word == "on"})
                self._session.show(note(f"{harmless(kind)} is {word}"))
            case "on" | "off":
                for name, told in (await self._veza.notifications.preferences()).items():
                    self._session.show(note(f"{'on ' if told else 'off'} {harmless(name)}"))
            case _:
                raise ClientError("Usage: /notifications [all | read | on KIND | off KIND]")

    async def _list(self, *, unread: bool) -> None:
        page = await self._veza.notifications.list(_PAGE, unread=unread)
        for notification in reversed(page.notifications):
            self._session.show(notification_line(notification))
        more = page.unread_count - len(page.notifications) if unread else 0
        if more > 0:
            self._session.show(note(f"and {more} more"))
        told = "/notifications read marks them" if page.unread_count else "nothing is unread"
        self._session.show(note(told))
