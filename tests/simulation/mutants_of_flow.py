"""Planted bugs in what flows: backlogs, allowances, presence, floods, and what messages refer to."""

from typing import Any
from unittest.mock import patch

from simulation import store as stores
from simulation.gateway import SimGateway
from simulation.limits import SimLimits
from veza.actors import mailbox
from veza.http.websocket import WebSocket
from veza.realtime import allowance, attendance, room, shard, takeover
from veza.realtime.attendance import Attendance
from veza.realtime.presence import OFFLINE, PresenceBook

# -- slow readers ------------------------------------------------------------------------------------------------


def _backlogs_grow() -> Any:
    """A socket is written to however much waits."""

    def send(self: WebSocket, data: bytes) -> None:
        if not self.closing:
            self.write(data)

    return patch.object(WebSocket, "send", send)


def _who_takes_nothing_stays() -> Any:
    """Nobody is closed for the time that a backlog lasts."""
    return patch.object(WebSocket, "overdue", lambda *_: False)


def _whoever_lags_is_closed() -> Any:
    """A backlog of a moment is one too many."""
    return patch.object(WebSocket, "overdue", lambda self, _: self.lagging_since is not None)


def _others_wait_for_the_slow() -> Any:
    """A room is written to when all its sockets keep up."""
    write = SimGateway._write

    def waiting(self: SimGateway, effect: Any, sockets: Any, *, paused: bool) -> bool:
        if any(socket.lagging_since is not None and not socket.closing for socket in sockets):
            self._write_later(0.1, effect, sockets)
            return True
        return write(self, effect, sockets, paused=paused)

    return patch.object(SimGateway, "_write", waiting)


# -- allowances --------------------------------------------------------------------------------------------------


def _what_was_spent_comes_back() -> Any:
    """A loan is a full bucket, whatever was left of it."""
    bucket = allowance.Limits.bucket
    return patch.object(allowance.Limits, "bucket", lambda self, now, _=None: bucket(self, now))


def _what_is_recalled_stays_too() -> Any:
    """A gateway goes on spending of what it has given back."""
    return patch.object(allowance.Borrower, "_drop", lambda *_: None)


def _owners_lend_at_once() -> Any:
    """A new owner does not wait for what gateways hold."""
    granted = allowance.Lender.granted
    return patch.object(
        allowance.Lender, "granted", lambda self, partition, epoch, _: granted(self, partition, epoch, 0)
    )


def _loans_are_not_reported() -> Any:
    """A new owner is not told what a gateway holds."""
    return patch.object(SimLimits, "held", lambda *_: (0, 0.0))


def _shares_are_whole() -> Any:
    """Whoever hears nothing of the owner decides by the whole limit."""
    return patch.object(allowance.Limits, "share", lambda self, now: self.bucket(now))


def _patience_has_no_end() -> Any:
    """Whoever hears nothing of the owner waits."""
    return patch.object(allowance.Borrower, "overdue", lambda *_: ([], []))


def _later_commands_do_not_wait() -> Any:
    """What a socket sends behind a message that waits goes ahead of it."""

    def receive(self: SimLimits, socket: Any, command: Any, command_id: str) -> None:
        held, socket.held = socket.held, None
        self._obey(socket, command, command_id)
        if held is not None:
            held.extend(socket.held or ())
            socket.held = held

    return patch.object(SimLimits, "receive", receive)


# -- presence ----------------------------------------------------------------------------------------------------


def _nobody_says_goodbye() -> Any:
    """A new owner does not ask who was shown as present."""
    return patch.object(PresenceBook, "settled", lambda *_: {})


def _first_reports_are_old_news() -> Any:
    """Whoever came while nobody owned them is taken for known."""
    settled = PresenceBook.settled

    def careless(self: PresenceBook, partitions: Any, present: Any) -> Any:
        told = settled(self, partitions, present)
        return {user_id: status for user_id, status in told.items() if status == OFFLINE}

    return patch.object(PresenceBook, "settled", careless)


def _users_are_not_repeated() -> Any:
    """A new owner is not told who is there."""
    return patch.object(Attendance, "moved", lambda *_: [])


def _who_left_is_not_repeated() -> Any:
    """When a link breaks, those who are there are said again, and nobody else."""
    return patch.object(attendance, "MAX_LEFT", 0)


def _the_deposed_are_believed() -> Any:
    """Whoever has lost a partition may tell of its users all the same."""
    save = stores.Store.save_presence

    def unfenced(self: stores.Store, epochs: Any, statuses: Any, offline: str) -> set[int]:
        return save(self, {partition: self.epochs[partition] for partition in epochs}, statuses, offline)

    return patch.object(stores.Store, "save_presence", unfenced)


def _what_comes_back_was_never_away() -> Any:
    """A partition that was somebody else's in between is not looked at."""
    note = takeover.Takeovers.note

    def careless(self: takeover.Takeovers, before: Any, owned: Any, now: float) -> set[int]:
        return note(self, {p: owned.get(p, epoch) for p, epoch in before.items()}, owned, now)

    return patch.object(takeover.Takeovers, "note", careless)


# -- floods ------------------------------------------------------------------------------------------------------


def _first_come_first_served() -> Any:
    """A batch is what came first."""
    return patch.object(mailbox, "take_fairly", lambda items, _, at_most: (items[:at_most], items[at_most:]))


def _what_was_taken_counts_on() -> Any:
    """What one has waiting is counted up and never down."""
    return patch.object(mailbox.FairMailbox, "_uncount", lambda *_: None)


# -- references --------------------------------------------------------------------------------------------------


def _blocks_are_not_read() -> Any:
    """A room hears of a block only when it is read anew."""
    supply = shard.ShardCore.supply

    def deaf(self: shard.ShardCore, supplies: Any) -> None:
        supplies.blocked.clear()
        supply(self, supplies)

    return patch.object(shard.ShardCore, "supply", deaf)


def _blocks_are_forgotten() -> Any:
    """A block does not outlive the shard."""
    begin = room.Room.__init__

    def forgetful(self: room.Room, snapshot: Any) -> None:
        begin(self, snapshot)
        self.blocked.clear()

    return patch.object(room.Room, "__init__", forgetful)


def _strangers_are_mentioned() -> Any:
    """Whoever has the name is told, in the room or not."""
    mentioned = room.mentioned
    return patch.object(
        room, "mentioned", lambda content, names, _, but: mentioned(content, names, names.values(), but)
    )


def _attachments_serve_twice() -> Any:
    """Nobody looks whether another message has it."""
    return patch.object(room.Room, "_usable", lambda _, attachment, __: attachment)


# What finds each: a scene, or nothing in particular.
FOUND_BY = {
    _backlogs_grow: "slow readers",
    _who_takes_nothing_stays: None,
    _whoever_lags_is_closed: None,
    _others_wait_for_the_slow: "slow readers",
    _what_was_spent_comes_back: "by turns",
    _what_is_recalled_stays_too: "by turns",
    _owners_lend_at_once: "by turns",
    _loans_are_not_reported: "by turns",
    _shares_are_whole: "silent owner",
    _patience_has_no_end: "silent owner",
    _later_commands_do_not_wait: "by turns",
    _nobody_says_goodbye: "died together",
    _first_reports_are_old_news: None,
    _users_are_not_repeated: None,
    _who_left_is_not_repeated: "left unheard",
    _the_deposed_are_believed: "deposed",
    _what_comes_back_was_never_away: "left unheard",
    _first_come_first_served: "flood",
    _what_was_taken_counts_on: "flood",
    _blocks_are_not_read: "quarrel",
    _blocks_are_forgotten: "quarrel",
    _strangers_are_mentioned: None,
    _attachments_serve_twice: None,
}
