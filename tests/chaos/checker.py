"""Judges what a run of traffic left behind: no loss, no duplicate, no gap, one order.

It compares three things that must agree: what writers were told is stored, what the history has, and what each
reader was shown, in the order in which it was shown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Sent(NamedTuple):
    """A message as a writer made it. The key under which a retry is the same message."""

    room_id: str
    sender_id: str
    client_msg_id: str


class Event(NamedTuple):
    """A message as the history or a reader has it."""

    seq: int
    id: str
    sender_id: str
    client_msg_id: str | None
    content: str | None


class Ack(NamedTuple):
    """What a writer was told: its message is stored there. One message may be acknowledged more than once."""

    sent: Sent
    seq: int
    id: str
    duplicate: bool


class Record:
    """Everything a run of traffic was told. `content` is what a message says; `lanes` are messages sent one after
    the other, each only after the one before was acknowledged.
    """

    def __init__(self) -> None:
        self.content: dict[Sent, str] = {}
        self.acks: list[Ack] = []
        self.lanes: dict[str, list[Sent]] = {}


def problems(
    record: Record,
    histories: Mapping[str, Sequence[Event]],
    streams: Mapping[str, Mapping[str, Sequence[Event]]],
) -> list[str]:
    """What is wrong, one sentence each; empty when all is well.

    `histories` has each room's whole history, oldest first; `streams` has, for each reader and room, what the reader
    was shown since the room's beginning, in that order.
    """
    found: list[str] = []
    for room_id, history in histories.items():
        found += _history(record, room_id, history)
    found += _acks(record, histories)
    found += _lanes(record)
    for reader, rooms in streams.items():
        for room_id, history in histories.items():
            found += _stream(f"{reader} in {room_id}", rooms.get(room_id, ()), history)
    return found


def _history(record: Record, room_id: str, history: Sequence[Event]) -> Iterable[str]:
    seqs = [event.seq for event in history]
    if seqs != list(range(1, len(seqs) + 1)):
        yield f"the history of {room_id} is not 1, 2, 3 …: {_first_break(seqs)}"
    ids = Counter(event.id for event in history)
    messages = Counter((event.sender_id, event.client_msg_id) for event in history)
    for twice in [*(ids - Counter(set(ids))), *(messages - Counter(set(messages)))]:
        yield f"the history of {room_id} has {twice} more than once"
    for event in history:
        sent = Sent(room_id, event.sender_id, event.client_msg_id or "")
        if record.content.get(sent) != event.content:
            yield f"the history of {room_id} has at {event.seq} what nobody wrote: {event}"


def _acks(record: Record, histories: Mapping[str, Sequence[Event]]) -> Iterable[str]:
    stored = {room_id: {event.seq: event for event in history} for room_id, history in histories.items()}
    first: dict[Sent, Ack] = {}
    news: set[Sent] = set()
    for ack in record.acks:
        event = stored.get(ack.sent.room_id, {}).get(ack.seq)
        if event is None:
            yield f"lost: {ack} was acknowledged and is not in the history"
        elif (event.id, event.sender_id, event.client_msg_id) != (ack.id, ack.sent.sender_id, ack.sent.client_msg_id):
            yield f"{ack} was acknowledged, but the history has {event} there"
        earlier = first.setdefault(ack.sent, ack)
        if (earlier.seq, earlier.id) != (ack.seq, ack.id):
            yield f"acknowledged at two places: {earlier} and {ack}"
        if not ack.duplicate:
            if ack.sent in news:
                yield f"acknowledged as new more than once: {ack}"
            news.add(ack.sent)


def _lanes(record: Record) -> Iterable[str]:
    seq_of = {ack.sent: ack.seq for ack in record.acks}
    for lane, messages in record.lanes.items():
        seqs = [seq_of[sent] for sent in messages if sent in seq_of]
        if seqs != sorted(seqs):
            yield f"{lane} was not stored in the order in which it was sent: {seqs}"


def _stream(name: str, stream: Sequence[Event], history: Sequence[Event]) -> Iterable[str]:
    seqs = [event.seq for event in stream]
    if seqs != list(range(1, len(history) + 1)):
        yield f"{name} was not shown 1 … {len(history)}: {_first_break(seqs)} ({len(seqs)} events)"
        return
    differing = next((pair for pair in zip(stream, history, strict=True) if pair[0] != pair[1]), None)
    if differing is not None:
        yield f"{name} was shown {differing[0]}, the history has {differing[1]}"


def _first_break(seqs: Sequence[int]) -> str:
    for index, seq in enumerate(seqs, 1):
        if seq != index:
            return f"… {list(seqs[max(0, index - 3) : index + 2])} … where {index} should be"
    return f"it ends at {len(seqs)}"
