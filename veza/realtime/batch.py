"""What one round of a shard decided: events to commit, and the script of what each gateway is told then."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from veza.errors import VezaError
from veza.realtime import commands as c
from veza.realtime import protocol
from veza.realtime.events import EventKind, RoomEvent, wire

Sourced = tuple[str, Any]  # the gateway it came from, and a command of the kind that the shard takes


class Line(NamedTuple):
    """One delivery of a script; `partition` None is for what no partition's loss can make untrue."""

    partition: int | None
    item: c.Wire

    @property
    def ref(self) -> int:
        return int(getattr(self.item, "ref", 0))

    @property
    def epoch(self) -> int:
        return int(getattr(self.item, "epoch", 0))


class Script:
    """What each gateway is told, in order, once what the round decided is stored."""

    def __init__(self) -> None:
        self.script: dict[str, list[Line]] = {}
        self.epochs: dict[int, int] = {}  # the epochs under which the batch was decided
        self.deferred: list[Sourced] = []  # decided in the next round

    def tell(self, gateway: str, partition: int | None, item: c.Wire) -> None:
        self.script.setdefault(gateway, []).append(Line(partition, item))

    def tell_each(self, tells: Iterable[tuple[str, c.Wire]]) -> None:
        """What was said of users: no room's loss makes it untrue."""
        for gateway, item in tells:
            self.tell(gateway, None, item)

    def withdraw(self, lost: set[int]) -> None:
        """Take back what concerns partitions that were lost before the commit."""
        for gateway, lines in self.script.items():
            refs = [(line.ref, line.epoch) for line in lines if line.partition in lost and line.ref]
            kept = [line for line in lines if line.partition not in lost]
            if refs:
                kept.append(Line(None, c.NotOwner(refs)))
            self.script[gateway] = kept

    def answer_all(self, error: VezaError) -> dict[str, list[Line]]:
        """Whoever waits for an answer gets `error` instead; the rest of the script stays."""
        answers = {
            gateway: [Line(None, refusal(line.ref, error, line.epoch)) for line in lines if line.ref]
            for gateway, lines in self.script.items()
        }
        self.script = {gateway: [line for line in lines if not line.ref] for gateway, lines in self.script.items()}
        return answers


class Batch(Script):
    """What one round of rooms decided."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[RoomEvent] = []
        self.reads: dict[tuple[UUID, UUID], int] = {}  # (room, user) → last_read_seq
        self._unencoded: list[tuple[list[bytes], RoomEvent]] = []

    def add(self, event: RoomEvent, room_frames: list[bytes]) -> None:
        self.events.append(event)
        self._unencoded.append((room_frames, event))

    def encode(self) -> None:
        """Make the frames, each once; done while the commit is on its way."""
        for room_frames, event in self._unencoded:
            room_frames.append(protocol.frame(wire(event)))
        self._unencoded.clear()

    @property
    def structural(self) -> bool:
        """Whether rows beside the log change, too."""
        return any(event.kind is not EventKind.MESSAGE or event.effects is not None for event in self.events)

    def forget_events(self) -> None:
        """What was decided is not stored: nobody may see it."""
        self._unencoded.clear()
        for gateway, lines in self.script.items():
            self.script[gateway] = [line for line in lines if not isinstance(line.item, c.Events | c.MemberGone)]


def refusal(ref: int, error: VezaError, epoch: int = 0) -> c.Refusal:
    return c.Refusal(ref, type(error).__name__, list(error.args), epoch)
