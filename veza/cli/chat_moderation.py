"""Commands of owners and moderators."""

from typing import TYPE_CHECKING

from veza.cli.chat_lines import sanction_line
from veza.cli.chat_text import note, seconds
from veza.client import ClientError

if TYPE_CHECKING:
    from veza.cli.chat_session import ChatSession, Run


class ModerationCommands:
    """What they do is told by the room's events; a warning only to whom it is for."""

    def __init__(self, session: "ChatSession") -> None:
        self._session = session
        self.table: dict[str, Run] = {
            "/warn": self._warn,
            "/mute": self._mute,
            "/unmute": self._unmute,
            "/kick": self._kick,
            "/ban": self._ban,
            "/unban": self._unban,
            "/sanctions": self._sanctions,
            "/role": self._role,
        }

    async def _warn(self, rest: str) -> None:
        user_id, reason = self._person(rest, "/warn PERSON [REASON]")
        await self._session.opened().warn(user_id, reason)
        self._session.show(note(f"{self._session.roster.name(user_id)} is warned"))

    async def _mute(self, rest: str) -> None:
        user_id, more = self._person(rest, "/mute PERSON [TIME] [REASON]")
        duration, reason = _timed(more)
        await self._session.opened().mute(user_id, duration, reason)

    async def _unmute(self, rest: str) -> None:
        user_id, _ = self._person(rest, "/unmute PERSON")
        await self._session.opened().lift(user_id, "mute")

    async def _kick(self, rest: str) -> None:
        user_id, reason = self._person(rest, "/kick PERSON [REASON]")
        await self._session.opened().kick(user_id, reason)

    async def _ban(self, rest: str) -> None:
        user_id, more = self._person(rest, "/ban PERSON [TIME] [REASON]")
        duration, reason = _timed(more)
        await self._session.opened().ban(user_id, duration, reason)

    async def _unban(self, rest: str) -> None:
        for sanction in (await self._session.opened().sanctions(limit=100)).sanctions:
            self._session.roster.meet(sanction.user)
        user_id, _ = self._person(rest, "/unban PERSON")
        await self._session.opened().lift(user_id, "ban")
        self._session.show(note(f"{self._session.roster.name(user_id)} may come back"))

    async def _sanctions(self, _: str) -> None:
        page = await self._session.opened().sanctions()
        for sanction in reversed(page.sanctions):
            self._session.show(sanction_line(sanction))
        if not page.sanctions:
            self._session.show(note("nothing was imposed here"))

    async def _role(self, rest: str) -> None:
        user_id, role = self._person(rest, "/role PERSON moderator|member")
        if role == "moderator":
            await self._session.opened().set_role(user_id, "moderator")
        elif role == "member":
            await self._session.opened().set_role(user_id, "member")
        else:
            raise ClientError("A role is moderator or member.")

    def _person(self, rest: str, usage: str) -> tuple[str, str]:
        """The person that the first word names, and the rest."""
        self._session.opened()
        name, _, more = rest.partition(" ")
        return self._session.roster.find(name, usage), more.strip()


def _timed(text: str) -> tuple[int | None, str]:
    """`10m calm down` as a duration in seconds and a reason."""
    word, _, rest = text.partition(" ")
    duration = seconds(word)
    return (duration, rest.strip()) if duration is not None else (None, text)
