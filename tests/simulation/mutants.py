"""Planted bugs, each of which the simulation must find: the proof that it looks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from simulation import store as stores
from simulation.gateway import SimGateway
from simulation.mutants_of_flow import FOUND_BY
from simulation.shard import SimShard
from veza.realtime import commands as c
from veza.realtime import following, joins, room, routing, shard
from veza.realtime.effects import LogPage
from veza.realtime.feed import RoomFeed
from veza.realtime.known import Known
from veza.realtime.round import Round

Mutant = Callable[[], Any]


def _deliver_before_commit() -> Any:
    """The shard tells what it has decided and stores it then."""
    commit = SimShard._commit

    def early(self: SimShard, batch: Any) -> Any:
        batch.encode()
        self._dispatch(batch.script)
        batch.script = {}
        return commit(self, batch)

    return patch.object(SimShard, "_commit", early)


def _no_fence() -> Any:
    """A commit is stored under whatever epoch."""
    return patch.object(stores.Store, "_own", lambda _, epochs: set(epochs))


def _no_lookup() -> Any:
    """What memory does not know is taken for new."""
    return patch.object(room.Room, "needs_lookup", lambda *_: False)


def _no_memory_of_names() -> Any:
    """A client_msg_id is looked up and then ignored."""
    return patch.object(Known, "client", lambda *_: None)


def _no_catch_up() -> Any:
    """A feed that lacks events waits for them."""
    return patch.object(following.Following, "_catch_up", lambda *_: None)


def _gaps_are_passed_over() -> Any:
    """What comes early is passed on early."""
    accept = RoomFeed.accept

    def careless(self: RoomFeed, first_seq: int, frames: Any) -> Any:
        if self.last_seq is not None and first_seq > self.last_seq + 1:
            self.last_seq = first_seq - 1
        return accept(self, first_seq, frames)

    return patch.object(RoomFeed, "accept", careless)


def _repeats_are_passed_on() -> Any:
    """What was seen is passed on again."""
    accept = RoomFeed.accept

    def careless(self: RoomFeed, first_seq: int, frames: Any) -> Any:
        if self.wanted is None and self.last_seq is not None and first_seq <= self.last_seq:
            return frames
        return accept(self, first_seq, frames)

    return patch.object(RoomFeed, "accept", careless)


def _removals_are_not_told() -> Any:
    """Whoever is removed stays in the room."""
    return patch.object(following.Following, "_member_gone", lambda *_: None)


def _removals_come_first() -> Any:
    """Whoever is removed goes before what came before the removal was shown."""
    return patch.object(
        following.Following,
        "_member_gone",
        lambda self, entry, user_id, seq: self._remove(entry, user_id, seq),
    )


def _late_removals_count() -> Any:
    """A removal takes out who joined after it, too."""
    remove = following.Following._remove
    return patch.object(
        following.Following, "_remove", lambda self, entry, user_id, _: remove(self, entry, user_id, 2**62)
    )


def _joiners_hold_nothing() -> Any:
    """What comes while a page is read is lost to who waits for it."""
    return patch.object(joins.Join, "hold", lambda *_: None)


def _joins_undo_later_ones() -> Any:
    """A join whose page was emptied by retention asks again, whatever the socket has asked for since."""
    admitted, page_read = joins.Joins.admitted, joins.Joins.page_read

    def wanted(step: Any) -> Any:
        def careless(self: Any, join: Any, what: Any) -> Any:
            if join.gone or not join.last_page:
                join.entry.readers[join.socket] = join
            return step(self, join, what)

        return careless

    return patch.multiple(joins.Joins, admitted=wanted(admitted), page_read=wanted(page_read))


def _lagged_is_ignored() -> Any:
    """A gateway that was cut back does not follow its rooms anew."""
    return patch.object(following.Following, "_follow_anew", lambda *_, **__: None)


def _answers_on_their_way_count() -> Any:
    """A subscription on its way is taken for newer than the loss of all followers."""
    follow = following.Following._follow_anew
    return patch.object(following.Following, "_follow_anew", lambda self, entry, **_: follow(self, entry, surely=False))


def _resent_as_new() -> Any:
    """What is sent again does not say so."""
    return patch.object(routing, "_again", lambda command, epoch: c.msgspec.structs.replace(command, epoch=epoch))


def _nothing_is_sent_again() -> Any:
    """A new map moves nothing that waits."""
    return patch.object(routing.Router, "_resend", lambda *_: [])


def _old_epochs_are_taken() -> Any:
    """A shard takes commands from before it lost the partition."""
    return patch.object(shard.ShardCore, "accepts", lambda self, command: self.owns(command.room_id))


def _unsettled_rooms_stay() -> Any:
    """A room whose commit was lost is kept as it was decided."""
    return patch.object(shard.ShardCore, "abandon", lambda *_: None)


def _what_was_read_stays_read() -> Any:
    """A room that went with its partition while it was read is taken for one that does not exist."""
    drop = shard.ShardCore._drop

    def careless(self: Any, partitions: Any) -> None:
        read = dict(self._read)
        drop(self, partitions)
        self._read = read

    return patch.object(shard.ShardCore, "_drop", careless)


def _pages_overlap() -> Any:
    """The catch-up begins one event too early."""

    def read(self: Any, entry: Any, fruitless: int) -> None:
        start = max(0, (entry.feed.last_seq or 0) - 1)
        log_read = following.partial(self._log_read, entry, start, fruitless)
        self.put(following.ReadLog(entry.id, start, 3, log_read))

    return patch.object(following.Following, "_read", read)


def _retention_is_a_gap() -> Any:
    """A room waits for events that retention has removed."""
    finish = following.Following._pass_on_page
    return patch.object(
        following.Following,
        "_pass_on_page",
        lambda self, entry, start, page: finish(self, entry, start, LogPage(page.events)),
    )


def _deleted_is_shown() -> Any:
    """The log is read as it was written."""
    return patch.object(stores.Store, "_shown", staticmethod(lambda _, event: event))


def _removals_behind_their_events() -> Any:
    """The removal stands behind its event, in a call of its own."""
    durable, tell_gone = Round._durable, Round._tell_gone
    kept: list[Any] = []

    def later(self: Any, *arguments: Any) -> None:
        durable(self, *arguments)
        while kept:
            tell_gone(self, *kept.pop())

    @contextmanager
    def both() -> Iterator[None]:
        with (
            patch.object(Round, "_tell_gone", lambda _, *arguments: kept.append(arguments)),
            patch.object(Round, "_durable", later),
        ):
            yield

    return both()


def _pauses_forget_who_left() -> Any:
    """A write that was paused goes on to who has left meanwhile."""
    write = SimGateway._write

    def careless(self: SimGateway, effect: Any, sockets: Any, **_: bool) -> bool:
        return write(self, effect, sockets, paused=False)

    return patch.object(SimGateway, "_write", careless)


# What finds each: a scene, or nothing in particular.
_FOUND_BY: dict[Mutant, str | None] = {
    _deliver_before_commit: None,
    _no_fence: None,
    _no_lookup: None,
    _no_memory_of_names: None,
    _no_catch_up: None,
    _gaps_are_passed_over: None,
    _repeats_are_passed_on: None,
    _removals_are_not_told: None,
    _removals_come_first: None,
    _removals_behind_their_events: "removed by the dead",
    _late_removals_count: "come back",
    _joiners_hold_nothing: None,
    _joins_undo_later_ones: "emptied pages",
    _lagged_is_ignored: None,
    _answers_on_their_way_count: "followers forgotten",
    _resent_as_new: "there and back",
    _nothing_is_sent_again: None,
    _old_epochs_are_taken: "there and back",
    _unsettled_rooms_stay: None,
    _what_was_read_stays_read: "read in vain",
    _pages_overlap: None,
    _retention_is_a_gap: "behind retention",
    _deleted_is_shown: None,
    _pauses_forget_who_left: "left while written",
}
MUTANTS = {made.__name__[1:]: (made, scene) for made, scene in [*_FOUND_BY.items(), *FOUND_BY.items()]}
