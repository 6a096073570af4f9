"""Promise B: whoever is blocked does not write in the direct room, from the answer to the block to the next change."""

from typing import TYPE_CHECKING
from uuid import UUID

from simulation.promises import Broken
from simulation.store import StoreAway
from veza.errors import RoomNotFound, VezaError
from veza.realtime import commands as c
from veza.realtime.events import EventKind, Person, RoomEvent

if TYPE_CHECKING:
    from simulation.gateway import SimGateway
    from simulation.world import World

# What is deleted is taken away, not written.
_WRITTEN = frozenset(EventKind) - {EventKind.MESSAGE_DELETED, EventKind.ROOM_DELETED}


class _Block:
    """Whether one of the two blocks the other, as far as that is certain, and since when."""

    def __init__(self) -> None:
        self.on: bool | None = False
        self.since = 0.0
        self.changing = 0
        self.crossed = False  # two changes are under way, in whichever order
        self.unknown = False  # a change failed, which may be made much later


class Blocks:
    """`POST` and `DELETE /users/<id>/block` of the two people of a direct room, and what follows."""

    def __init__(self, world: "World", room_id: UUID, people: tuple[Person, Person]) -> None:
        self._world = world
        self._room_id = room_id
        self._other = {people[0].id: people[1].id, people[1].id: people[0].id}
        self._blocks = {person.id: _Block() for person in people}

    def change(self, gateway: "SimGateway", blocker: UUID, *, on: bool) -> bool:
        """Whether this person has somebody to block."""
        block = self._blocks.get(blocker)
        if block is None:
            return False
        block.changing += 1
        block.on, block.crossed = None, block.changing > 1
        store, blocked = self._world.store, self._other[blocker]

        def stored(_: object, error: StoreAway | None) -> None:
            if error is not None:
                end(error)
            else:
                gateway.links.request(lambda ref: c.BlocksChanged(ref, self._room_id), self._room_id, end)

        def end(answer: object) -> None:
            failed = isinstance(answer, StoreAway | VezaError) and not isinstance(answer, RoomNotFound)
            block.unknown = block.unknown or failed
            block.changing -= 1
            if not (block.changing or block.crossed or block.unknown):
                block.on, block.since = on, self._world.clock.now
                self._world.seen["blocked" if on else "unblocked"] += 1

        self._world.database.run(gateway, lambda: store.set_block(blocker, blocked, on=on), stored)
        return True

    def stored(self, event: RoomEvent, arrived_at: float) -> None:
        """The store takes an event whose command came to its gateway at that time."""
        blocker = self._other.get(event.sender.id)
        if event.room_id != self._room_id or event.kind not in _WRITTEN or blocker is None:
            return
        block = self._blocks[blocker]
        if block.on and block.since <= arrived_at:
            raise Broken("B", f"{event.sender.username} writes seq {event.seq}, blocked since {block.since:.3f} s")

    def refused(self, user_id: UUID, sent_at: float) -> None:
        """Somebody is told that they are blocked."""
        self._world.seen["refused for a block"] += 1
        block = self._blocks[self._other[user_id]]
        if block.on is False and block.since <= sent_at:
            raise Broken("B", f"{self._world.person(user_id)} is told of a block that ended at {block.since:.3f} s")
