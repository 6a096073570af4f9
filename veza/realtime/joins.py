"""`join_room`: the page of earlier events, then, in one step, the live ones.

The shard says "you may, and everything up to `seq` is stored", and from then on sends this gateway the room's events.
What comes while the page is read stands behind it. Pure, like `following`, whose entries it fills.
"""

from collections.abc import Sequence
from functools import partial
from typing import Generic
from uuid import UUID

import msgspec

from veza.errors import InvalidArgument, Unavailable, VezaError
from veza.realtime import commands as c
from veza.realtime import protocol as p
from veza.realtime.effects import Effect, Entered, JoinPage, Later, ReadPage, Refuse, Request, S, Say, ShardReply
from veza.realtime.followed import Member, RoomEntry
from veza.realtime.following import Following

# A joiner that gets more than this while its page is read asks for another page instead.
JOINER_BYTES = 256 * 1024
# How long a join waits for a room that catches up, which takes PostgreSQL.
JOIN_PATIENCE_S = 10.0

_NO_EVENTS = msgspec.Raw(b"[]")


class Asking:
    """Joins of one socket on their way. Whoever leaves takes them back; `gone_at` is the latest removal meanwhile."""

    __slots__ = ("gone_at", "joins", "user_id")

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.joins = 0
        self.gone_at = 0


class Join(Generic[S]):
    """One `join_room` command, from its arrival to its reply; while its last page is read, it is a joiner of `entry`
    and `buffered` is what stands behind the page.
    """

    __slots__ = (
        "_joins",
        "_size",
        "asking",
        "buffered",
        "command",
        "entry",
        "gone",
        "head",
        "last_page",
        "member",
        "socket",
    )

    def __init__(self, joins: "Joins[S]", socket: S, command: p.JoinRoom, user_id: UUID) -> None:
        self._joins = joins
        self._size = 0
        self.socket = socket
        self.command = command
        self.member = Member(user_id, 0)  # `since` is known when the shard has let it in
        self.entry: RoomEntry[S]  # set, with `asking`, when the shard is asked
        self.asking: Asking
        self.gone = 0  # events up to this seq are not in the log any more
        self.head = 0  # what is stored when the page is read
        self.last_page = False
        self.buffered: list[bytes] = []

    @property
    def overflown(self) -> bool:
        return self._size > JOINER_BYTES

    def hold(self, frames: Sequence[bytes]) -> None:
        self._size += sum(map(len, frames))
        if self.overflown:
            self.buffered = []
        else:
            self.buffered.extend(frames)

    def resume(self, seq: int) -> list[Effect]:
        """The feed it waited for has caught up."""
        return self._joins.admitted(self, seq)


class Joins(Generic[S]):
    """The joins of one gateway."""

    def __init__(self, following: Following[S]) -> None:
        self._following = following

    def join(self, socket: S, command: p.JoinRoom, user_id: UUID) -> list[Effect]:
        return self._ask(Join(self, socket, command, user_id))

    def _ask(self, join: Join[S]) -> list[Effect]:
        room_id, user_id = join.command.room_id, join.member.user_id
        join.entry = self._following.entry(room_id)
        join.asking = join.entry.pending.setdefault(join.socket, Asking(user_id))
        join.asking.joins += 1
        self._following.put(Request(lambda ref: c.Join(ref, room_id, user_id), room_id, partial(self._answered, join)))
        return self._following.take()

    def _answered(self, join: Join[S], answer: ShardReply) -> list[Effect]:
        if isinstance(answer, c.Subscribed):
            return self.admitted(join, answer.seq)
        self._still_asks(join)
        if isinstance(answer, VezaError):
            self._refuse(join, answer)
        return self._end(join)

    def admitted(self, join: Join[S], seq: int) -> list[Effect]:
        """The shard said yes; `seq` is stored. The feed may still lack events up to it."""
        entry = join.entry
        if entry.feed.wanted is not None and entry.pending.get(join.socket) is join.asking:
            entry.waiting[join] = seq
            return [Later(JOIN_PATIENCE_S, JOIN_PATIENCE_S, partial(self._tired, join))]
        overtaken = not self._still_asks(join) or join.asking.gone_at > seq
        # One that asks a second time must not undo what the socket has asked for since.
        if overtaken or (join.gone and not self._is_reader(join)):
            self._refuse(join, _overtaken())
        elif not join.socket.closing:
            join.member = Member(join.member.user_id, seq)
            self._place(join, max(seq, entry.feed.last_seq or 0))
            return self._done(join)
        return self._end(join)

    def _tired(self, join: Join[S]) -> list[Effect]:
        """The room did not catch up in time."""
        if join.entry.waiting.pop(join, None) is None:
            return []
        self._still_asks(join)
        self._refuse(join, Unavailable("The room cannot be read right now; try again shortly."))
        return self._end(join)

    def _end(self, join: Join[S]) -> list[Effect]:
        """It is answered, or nobody waits for that any more."""
        if self._is_reader(join):
            del join.entry.readers[join.socket]
        return self._done(join)

    def _done(self, join: Join[S]) -> list[Effect]:
        self._following.release(join.entry)
        return self._following.take()

    @staticmethod
    def _still_asks(join: Join[S]) -> bool:
        """One join is settled. False when its socket left the room since it asked."""
        pending, asking = join.entry.pending, join.asking
        current = pending.get(join.socket) is asking
        asking.joins -= 1
        if current and not asking.joins:
            del pending[join.socket]
        return current

    def _place(self, join: Join[S], head: int) -> None:
        entry, last_seq = join.entry, join.command.last_seq
        entry.readers.pop(join.socket, None)
        if last_seq is None:
            last_seq = head
        if last_seq > head:
            error = InvalidArgument("last_seq is ahead of the room.", (("last_seq", f"at most {head}"),))
            self._refuse(join, error)
            return
        # What retention has removed needs no page.
        start = min(head, max(last_seq, join.gone, (entry.first_seq or 1) - 1))
        if start == head and entry.first_seq is not None:
            self._enter(join)
            self._reply(join, head, _NO_EVENTS, has_more=False)
            return
        # A socket that is in the room already must not see live events ahead of its page; an older page is overtaken.
        entry.sockets.pop(join.socket, None)
        entry.joiners.pop(join.socket, None)
        join.head = head
        join.last_page = head - start <= p.PAGE_EVENTS
        entry.readers[join.socket] = join
        if join.last_page:
            entry.joiners[join.socket] = join
        self._following.put(ReadPage(join, start, min(head, start + p.PAGE_EVENTS)))

    def page_read(self, join: Join[S], page: JoinPage) -> list[Effect]:
        """Answer with the page. From the last one to live without a gap: the page, what came while it was read, and
        then everything.
        """
        entry = join.entry
        entry.first_seq = max(page.first_seq, entry.first_seq or 1)
        inside = entry.joiners.pop(join.socket, None) if self._is_joiner(join) else None
        emptied = not join.last_page and page.events == _NO_EVENTS
        if (join.last_page and inside is None) or (emptied and not self._is_reader(join)):
            # It left, was removed, or asked again meanwhile.
            self._refuse(join, _overtaken())
        elif emptied:
            # All of the page is gone by retention: what is kept begins further on.
            join.gone = page.last_seq
            return self._ask(join)
        elif inside is None or page.last_seq < join.head or join.overflown:
            self._reply(join, join.head, page.events, has_more=True)
        elif not join.socket.closing:
            self._enter(join)
            self._reply(join, join.head, page.events, has_more=False)
            if join.buffered:
                self._following.put(Say(join.socket, b"".join(join.buffered)))
        return self._end(join)

    def page_failed(self, join: Join[S]) -> list[Effect]:
        """Whoever read the page has answered why not."""
        if self._is_joiner(join):
            del join.entry.joiners[join.socket]
        return self._end(join)

    @staticmethod
    def _is_joiner(join: Join[S]) -> bool:
        return join.entry.joiners.get(join.socket) is join

    @staticmethod
    def _is_reader(join: Join[S]) -> bool:
        return join.entry.readers.get(join.socket) is join

    def _enter(self, join: Join[S]) -> None:
        join.entry.joiners.pop(join.socket, None)
        join.entry.sockets[join.socket] = join.member
        self._following.put(Entered(join.socket, join.entry.id))

    def _reply(self, join: Join[S], seq: int, events: msgspec.Raw, *, has_more: bool) -> None:
        command, first_seq = join.command, join.entry.first_seq or 1
        if command.id is None:
            return
        data = {
            "room_id": command.room_id,
            "seq": seq,
            "first_seq": first_seq,
            "events": events,
            "recovered": command.last_seq is not None and command.last_seq + 1 >= first_seq,
            "has_more": has_more,
        }
        self._following.put(Say(join.socket, p.reply_frame(command.id, p.json(data))))

    def _refuse(self, join: Join[S], error: VezaError) -> None:
        self._following.put(Refuse(join.socket, p.error_frame(join.command.id, error), error.code))


def _overtaken() -> Unavailable:
    return Unavailable("The join was overtaken; ask again.")
