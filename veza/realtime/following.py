"""How a gateway follows rooms: a shard knows gateways, a gateway knows sockets.

`Following` takes what shards deliver and what is read from the log, and says what to write to whom. A room's order
has no gap whatever happens to its shard (`feed`), whoever is removed sees their removal and nothing after it, and who
joins sees nothing twice (`joins`).

Pure. `deliver` and what a `ReadLog` leads to are generators and must not overlap: each effect is done before the next
is asked for. Everything else may be called at any time between two effects.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Generic
from uuid import UUID

from veza.errors import VezaError
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime.effects import (
    Answers,
    Close,
    Effect,
    Later,
    LogPage,
    Other,
    ReadLog,
    Request,
    S,
    Send,
    ShardReply,
    Tell,
    Write,
)
from veza.realtime.events import EventKind, RoomEvent, wire
from veza.realtime.followed import RoomEntry
from veza.realtime.partition import partition_of
from veza.realtime.rate_limit import backoff
from veza.realtime.routing import Router

# So few that even the longest messages stay below the backlog that closes a socket.
CATCH_UP_EVENTS = 50
# A room asks again, ever more slowly, while its shard or PostgreSQL is away.
RETRY_S = 0.25
LONGEST_RETRY_S = 5.0
LONGEST_CATCH_UP_S = 1.0

_ANSWERS = (c.Answer, c.Refusal)
_FOREVER = 2**63  # above every seq


class _Piled(Generic[S]):
    """Events and answers of batches that are handled together, until something else must stand behind them."""

    __slots__ = ("answers", "frames", "strange")

    def __init__(self) -> None:
        self.frames: dict[RoomEntry[S], list[bytes]] = {}
        self.answers: list[c.Answer | c.Refusal | c.Subscribed] = []
        self.strange: set[UUID] = set()  # rooms that nobody here follows


class Following(Generic[S]):
    """The rooms of one gateway. `router` says who owns them."""

    def __init__(self, router: Router) -> None:
        self.rooms: dict[UUID, RoomEntry[S]] = {}
        self._router = router
        self._out: list[Effect] = []

    def take(self) -> list[Effect]:
        """What is to be done."""
        out, self._out = self._out, []
        return out

    def put(self, effect: Effect) -> None:
        self._out.append(effect)

    # -- from the shards -------------------------------------------------------------------------------------

    def deliver(self, batches: Iterable[c.DeliveryBatch]) -> Iterator[Effect]:
        """Handle batches, in order; a room's frames in all of them are written together."""
        piled: _Piled[S] = _Piled()
        for batch in batches:
            for item in batch.items:
                if isinstance(item, c.Events):
                    self._accept(item, piled)
                elif isinstance(item, _ANSWERS):
                    piled.answers.append(item)
                else:
                    yield from self._release(piled)
                    self._handle(batch.shard, item)
                    yield from self.take()
        yield from self._release(piled)
        for room_id in piled.strange - self.rooms.keys():
            # The shard never got to know that nobody follows the room any more.
            yield Send(c.Unsubscribe(room_id), room_id)

    def _accept(self, item: c.Events, piled: _Piled[S]) -> None:
        entry = self.rooms.get(item.room_id)
        if entry is None:
            piled.strange.add(item.room_id)
            return
        fresh = entry.feed.accept(item.first_seq, item.frames)
        if fresh:
            piled.frames.setdefault(entry, []).extend(fresh)
        if entry.feed.wanted is not None:
            self._catch_up(entry)

    def _release(self, piled: _Piled[S]) -> Iterator[Effect]:
        """Pass on what piled up: whatever else happens in a room happens behind it."""
        for entry, frames in piled.frames.items():
            if entry.removals or entry.joiners:
                yield from self._pass_on(entry, frames)
            else:
                # Nearly always.
                yield Write(entry, frames)
        piled.frames.clear()
        if piled.answers:
            yield Answers(piled.answers)
            piled.answers = []
        yield from self.take()

    def _handle(self, shard: str, item: c.Delivery) -> None:
        match item:
            case c.Subscribed():
                self._subscribed(item)
                self._out.append(Answers([item]))
            case c.Transient():
                self._tell(item.room_id, item.frame, item.but)
            case c.MemberGone():
                if entry := self.rooms.get(item.room_id):
                    self._member_gone(entry, item.user_id, item.seq)
            case c.PresenceChanged():
                for room_id in item.room_ids:
                    event = {"type": "presence", "room_id": room_id, "user_id": item.user_id, "status": item.status}
                    self._tell(room_id, protocol.frame(event), item.user_id)
            case _:
                if isinstance(item, c.Lagged):
                    for room_id, entry in self.rooms.items():
                        if self._router.owner(room_id) == shard:
                            self._follow_anew(entry, surely=True)
                self._out.append(Other(shard, item))

    def _tell(self, room_id: UUID, frame: bytes, but: UUID | None) -> None:
        entry = self.rooms.get(room_id)
        if entry is not None and entry.sockets:
            self._out.append(Tell(entry, frame, but))

    def _pass_on(self, entry: RoomEntry[S], frames: Sequence[bytes]) -> Iterator[Effect]:
        """Pass on what the feed let through last, up to its `last_seq`; who is removed goes in between."""
        if not entry.removals:
            yield from self._write(entry, frames)
            return
        last = entry.feed.last_seq or 0
        start, passed = last - len(frames) + 1, 0
        due = sorted(removal for removal in entry.removals if removal[0] <= last)
        entry.removals = [removal for removal in entry.removals if removal[0] > last]
        for seq, user_id in due:
            upto = max(passed, seq - start + 1)
            yield from self._write(entry, frames[passed:upto])
            passed = upto
            self._remove(entry, user_id, seq)
            yield from self.take()
        yield from self._write(entry, frames[passed:])

    @staticmethod
    def _write(entry: RoomEntry[S], frames: Sequence[bytes]) -> Iterator[Effect]:
        if not frames:
            return
        for joiner in entry.joiners.values():
            joiner.hold(frames)
        if entry.sockets:
            yield Write(entry, frames)

    # -- leaving ---------------------------------------------------------------------------------------------

    def _member_gone(self, entry: RoomEntry[S], user_id: UUID | None, seq: int) -> None:
        """Whoever is removed is first shown all that came before, and that they are."""
        last = entry.feed.last_seq
        if last is None or seq <= last:
            self._remove(entry, user_id, seq)
        else:
            entry.removals.append((seq, user_id))

    def _remove(self, entry: RoomEntry[S], user_id: UUID | None, seq: int) -> None:
        """Take out the sockets of a user, or all, that were let in before the event `seq` was decided."""
        for asking in entry.pending.values():
            if user_id in (None, asking.user_id):
                asking.gone_at = max(asking.gone_at, seq)
        members = [(s, m) for s, m in entry.sockets.items() if user_id in (None, m.user_id)]
        members += [(s, j.member) for s, j in entry.joiners.items() if user_id in (None, j.member.user_id)]
        for socket, member in members:
            if member.since < seq:
                entry.sockets.pop(socket, None)
                entry.joiners.pop(socket, None)
        self.release(entry)

    def leave(self, socket: S, room_id: UUID) -> list[Effect]:
        """The socket wants no more of the room; what it has asked for is taken back."""
        entry = self.rooms.get(room_id)
        if entry is None:
            return []
        entry.sockets.pop(socket, None)
        entry.joiners.pop(socket, None)
        entry.readers.pop(socket, None)
        entry.pending.pop(socket, None)
        self.release(entry)
        return self.take()

    # -- following -------------------------------------------------------------------------------------------

    def entry(self, room_id: UUID) -> RoomEntry[S]:
        found = self.rooms.get(room_id)
        if found is None:
            found = self.rooms[room_id] = RoomEntry(room_id)
        return found

    def followed(self, entry: RoomEntry[S]) -> bool:
        return self.rooms.get(entry.id) is entry

    def release(self, entry: RoomEntry[S]) -> None:
        """Stop following a room that nobody is in."""
        if entry.deserted and self.followed(entry):
            del self.rooms[entry.id]
            self._out.append(Send(c.Unsubscribe(entry.id), entry.id))

    def moved(self, partitions: set[int]) -> list[Effect]:
        """These partitions have another owner, who must be told which of their rooms are followed here."""
        for room_id, entry in self.rooms.items():
            if partition_of(room_id) in partitions:
                self._follow_anew(entry, surely=False)
        return self.take()

    def _subscribed(self, item: c.Subscribed) -> None:
        entry = self.rooms.get(item.room_id)
        if entry is None:
            return
        if entry.feed.subscribed(item.seq):
            self._catch_up(entry)
        if entry.again and not entry.asking:
            self._subscribe(entry)

    def _follow_anew(self, entry: RoomEntry[S], *, surely: bool) -> None:
        """Subscribe again, once. What is on its way reaches a new owner too; but when a shard may have forgotten its
        followers after it decided (`surely`), the answer on its way may come from before that.
        """
        if not entry.asking and entry.feed.last_seq is not None:
            self._subscribe(entry)
        elif surely:
            entry.again = True

    def _subscribe(self, entry: RoomEntry[S]) -> None:
        entry.asking, entry.again = True, False
        self._out.append(
            Request(lambda ref: c.Subscribe(ref, entry.id), entry.id, partial(self._subscription_answered, entry))
        )

    def _subscription_answered(self, entry: RoomEntry[S], answer: ShardReply) -> list[Effect]:
        if not self.followed(entry):
            return []
        if not isinstance(answer, VezaError):
            entry.asking, entry.refused = False, 0
            if entry.again:
                self._subscribe(entry)
        elif answer.code == "room_not_found":
            entry.asking, entry.ended = False, True
            self._catch_up(entry)
        else:
            most = backoff(entry.refused, 0.0, first=RETRY_S, longest=LONGEST_RETRY_S)
            entry.refused += 1
            self._out.append(Later(most / 2, most, partial(self._subscribe_again, entry)))
        return self.take()

    def _subscribe_again(self, entry: RoomEntry[S]) -> list[Effect]:
        if self.followed(entry):
            self._subscribe(entry)
        return self.take()

    # -- catching up -----------------------------------------------------------------------------------------

    def _catch_up(self, entry: RoomEntry[S]) -> None:
        """Read what the feed lacks from the log and pass it on, page by page."""
        if not entry.catching_up:
            entry.catching_up = True
            self._read(entry, 0)

    def _read(self, entry: RoomEntry[S], fruitless: int) -> None:
        start = entry.feed.last_seq or 0
        self._out.append(ReadLog(entry.id, start, CATCH_UP_EVENTS, partial(self._log_read, entry, start, fruitless)))

    def _read_again(self, entry: RoomEntry[S], fruitless: int) -> list[Effect]:
        self._read(entry, fruitless)
        return self.take()

    def _log_read(self, entry: RoomEntry[S], start: int, fruitless: int, page: LogPage | None) -> Iterator[Effect]:
        if self.followed(entry) and page is not None:
            yield from self._pass_on_page(entry, start, page)
        if self.followed(entry) and (entry.feed.wanted is not None or entry.ended):
            if (entry.feed.last_seq or 0) > start:
                self._read(entry, 0)
            else:
                most = backoff(fruitless, 0.0, first=RETRY_S, longest=LONGEST_CATCH_UP_S)
                self._out.append(Later(most / 2, most, partial(self._read_again, entry, fruitless + 1)))
        else:
            entry.catching_up = False
            waiting, entry.waiting = entry.waiting, {}
            for join, seq in waiting.items():
                yield from join.resume(seq)
        yield from self.take()

    def _pass_on_page(self, entry: RoomEntry[S], start: int, page: LogPage) -> Iterator[Effect]:
        """Pass on events of the log after `start`, and what was held behind them. What a shard would have said of a
        removal may have died with it; the log says it, too.
        """
        feed, events = entry.feed, page.events
        if page.first_seq is not None:
            entry.first_seq = page.first_seq
            self._skip(entry, min(page.first_seq, events[0].seq if events else page.first_seq) - 1)
        if entry.ended and events:
            feed.want_rest()
        for event in events:
            if removal := _removal(event):
                entry.removals.append(removal)
        first = events[0].seq if events else start + 1
        frames = feed.caught_up(first, [protocol.frame(wire(event)) for event in events])
        yield from self._pass_on(entry, frames)
        if entry.ended and not events:
            entry.ended = False
            feed.stop()
            self._remove(entry, None, _FOREVER)

    def _skip(self, entry: RoomEntry[S], seq: int) -> None:
        """Retention has removed events up to `seq` that were not passed on. Who is in the room would see a gap, and
        nobody can tell any more who was removed in it: they come back, and are told where the log begins.
        """
        if entry.feed.skip(seq):
            sockets = [*entry.sockets, *entry.joiners]
            entry.sockets.clear()
            entry.joiners.clear()
            self._out.extend(Close(socket) for socket in sockets)
            self.release(entry)


def _removal(event: RoomEvent) -> tuple[int, UUID | None] | None:
    """Who is not in the room any more from this event on."""
    if event.kind is EventKind.MEMBER_LEFT:
        return event.seq, UUID(event.body["user_id"])
    if event.kind is EventKind.ROOM_DELETED:
        return event.seq, None
    return None
