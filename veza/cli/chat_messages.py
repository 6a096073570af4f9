"""Commands on messages: what happens to them, and finding them again."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from veza.cli.chat_rooms import given
from veza.cli.chat_text import note
from veza.client import Changed, ClientError, Message

if TYPE_CHECKING:
    from veza.cli.chat_session import ChatSession, Run

_PAGE = 20
_NUMBER = re.compile(r"#?(\d{1,18})(?:\s+|$)")


class MessageCommands:
    """A message is named by the number before it, which is its seq; the newest needs none."""

    def __init__(self, session: "ChatSession") -> None:
        self._session = session
        self.table: dict[str, Run] = {
            "/reply": self._reply,
            "/thread": self._thread,
            "/edit": self._edit,
            "/delete": self._delete,
            "/react": self._react,
            "/unreact": self._unreact,
            "/pin": self._pin,
            "/unpin": self._unpin,
            "/pins": self._pins,
            "/search": self._search,
            "/history": self._history,
        }

    async def _reply(self, rest: str) -> None:
        seq, text = split_number(rest)
        if seq is None or not text:
            raise ClientError("Usage: /reply N TEXT")
        parent = await numbered(self._session, seq)
        stored = await self._session.opened().send(text, parent_id=parent.id)
        await self._session.settle(stored.seq)

    async def _thread(self, rest: str) -> None:
        parent = await self._named(rest, "/thread N")
        self._session.show_messages([parent])
        await self._replies(parent, after_seq=0)

    async def _replies(self, parent: Message, after_seq: int) -> None:
        page = await self._session.opened().thread(parent.id, after_seq, _PAGE)
        self._session.show_messages(page.messages)
        if page.has_more:
            self._go_on(partial(self._replies, parent, page.messages[-1].seq))
        elif not page.messages and not after_seq:
            self._session.show(note(f"nobody answered yet: /reply {parent.seq} TEXT"))

    async def _edit(self, rest: str) -> None:
        # With its #, because a text may begin with a number.
        seq, text = split_number(rest) if rest.startswith("#") else (None, rest)
        given(text, "/edit TEXT for your newest message, /edit #N TEXT for another")
        if seq is not None:
            message: Message | None = await numbered(self._session, seq)
        else:
            message = self._session.timeline.newest(self._session.me.id)
        if message is None:
            raise ClientError("None of your messages was shown: /edit #N TEXT names one by its number.")
        await self._done(await self._session.opened().edit(message.id, text))

    async def _delete(self, rest: str) -> None:
        seq, more = split_number(rest)
        if seq is None or more:
            raise ClientError("Usage: /delete N")
        await self._done(await self._session.opened().delete((await numbered(self._session, seq)).id))

    async def _react(self, rest: str) -> None:
        message, emoji = await self._message_and_emoji(rest, "/react [N] EMOJI")
        await self._done(await self._session.opened().add_reaction(message.id, emoji))

    async def _unreact(self, rest: str) -> None:
        message, emoji = await self._message_and_emoji(rest, "/unreact [N] EMOJI")
        await self._done(await self._session.opened().remove_reaction(message.id, emoji))

    async def _message_and_emoji(self, rest: str, usage: str) -> tuple[Message, str]:
        seq, emoji = split_number(rest)
        if not emoji:
            raise ClientError(f"Usage: {usage}")
        return await self._message(seq), emoji

    async def _pin(self, rest: str) -> None:
        await self._done(await self._session.opened().pin((await self._named(rest, "/pin [N]")).id))

    async def _unpin(self, rest: str) -> None:
        await self._done(await self._session.opened().unpin((await self._named(rest, "/unpin [N]")).id))

    async def _pins(self, _: str) -> None:
        pins = await self._session.opened().pins()
        self._session.show_messages(pins)
        if not pins:
            self._session.show(note("nothing is pinned: /pin N"))

    async def _search(self, words: str) -> None:
        await self._found(given(words, "/search WORDS"), None)

    async def _found(self, words: str, cursor: str | None) -> None:
        page = await self._session.opened().search(words, _PAGE, cursor)
        self._session.show_messages(page.messages)
        if page.has_more:
            self._go_on(partial(self._found, words, page.next_cursor))
        elif not page.messages:
            self._session.show(note("nothing was found"))

    async def _history(self, count: str) -> None:
        limit = int(count) if count.isdigit() and 1 <= int(count) <= 100 else _PAGE
        await self._older(limit, None)

    async def _older(self, limit: int, before_seq: int | None) -> None:
        page = await self._session.opened().history(limit, before_seq=before_seq)
        if not page.has_more and page.first_seq > 1:
            self._session.show(note(f"what came before #{page.first_seq} is gone"))
        self._session.show_messages(page.messages)
        if page.has_more:
            self._go_on(partial(self._older, limit, min(one.seq for one in page.messages)))

    async def _done(self, changed: Changed) -> None:
        await self._session.settle(changed.seq)

    async def _named(self, rest: str, usage: str) -> Message:
        """The message of a number that stands alone, else the newest."""
        seq, more = split_number(rest)
        if more:
            raise ClientError(f"Usage: {usage}")
        return await self._message(seq)

    async def _message(self, seq: int | None) -> Message:
        if seq is not None:
            return await numbered(self._session, seq)
        newest = self._session.timeline.newest()
        if newest is None:
            raise ClientError("No message was shown yet: name one by its number.")
        return newest

    def _go_on(self, more: Callable[[], Awaitable[None]]) -> None:
        self._session.more = more
        self._session.show(note("/more goes on"))


def split_number(rest: str) -> tuple[int | None, str]:
    """`7 text` or `#7 text` as its parts; no number when it begins with none."""
    found = _NUMBER.match(rest)
    return (int(found[1]), rest[found.end() :].strip()) if found else (None, rest)


async def numbered(session: "ChatSession", seq: int) -> Message:
    """The message of a number, asked of the server when it was not shown. Raises `ClientError`."""
    known = session.timeline.numbered(seq)
    if known is not None:
        return known
    if seq > 0:
        for message in (await session.opened().history(1, after_seq=seq - 1)).messages:
            if message.seq == seq:
                return message
    raise ClientError(f"There is no message #{seq} here.")
