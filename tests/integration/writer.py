"""A shard's writer without its actor: the real core and the real statements, one round a call."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from veza.ids import new_id
from veza.realtime import commands as c
from veza.realtime.events import Person
from veza.realtime.frames import payload_of
from veza.realtime.partition import PARTITIONS
from veza.realtime.room import RoomType
from veza.realtime.sanctions import Policy
from veza.realtime.shard import ShardCore
from veza.storage import messages, partitions, room_log, rooms


class Writer:
    """`wall` is what the next round takes for the time."""

    def __init__(self, pool: Any, name: str = "writer") -> None:
        self.pool = pool
        self.name = name
        self.core = ShardCore(Policy())
        self.wall = datetime.now(UTC)
        self.frames: list[dict[str, Any]] = []  # what was shown, in order
        self.gone: list[tuple[UUID, UUID | None]] = []
        self._ref = 0

    async def take_over(self) -> None:
        """Own everything; whoever did before is fenced."""
        self.core.grant(await partitions.take(self.pool, dict.fromkeys(range(PARTITIONS), self.name)))

    async def give(self, *commands: Any) -> list[Any]:
        """Carry out commands (made by `lambda ref: …`) in as many rounds as they need.

        Their answers in order: the decoded `data`, or the Refusal.
        """
        asked, queue = [], []
        for make in commands:
            self._ref += 1
            asked.append(self._ref)
            command = make(self._ref)
            command.epoch = max(self.core.epochs.values())
            queue.append(("gateway", command))
        answers: dict[int, Any] = {}
        while queue:
            queue = await self._round(queue, answers)
        return [answers[ref] for ref in asked]

    async def _round(self, queue: list[Any], answers: dict[int, Any]) -> list[Any]:
        core = self.core
        if missing := core.missing(queue):
            core.install(await room_log.load_rooms(self.pool, missing))
        if candidates := core.lookups(queue):
            core.found(await room_log.find_stored(self.pool, candidates))
        if wants := core.wants(queue):
            core.supply(await messages.read_wanted(self.pool, wants))
        batch = core.decide(queue, self.wall, 0.0)
        lost: set[int] = set()
        if batch.events:
            lost = await room_log.commit(self.pool, batch.events, batch.epochs, structural=batch.structural)
        core.finish(batch, lost)
        for line in batch.script.get("gateway", []):
            match line.item:
                case c.Answer(ref=ref, data=data):
                    answers[ref] = msgspec.json.decode(data)
                case c.Refusal(ref=ref) | c.Subscribed(ref=ref):
                    answers[ref] = line.item
                case c.NotOwner(refs=refs):
                    answers.update({ref: line.item for ref, _ in refs})
                case c.Events(frames=frames):
                    self.frames += [msgspec.json.decode(payload_of(frame)) for frame in frames]
                case c.MemberGone(room_id=room_id, user_id=user_id):
                    self.gone.append((room_id, user_id))
        return list(batch.deferred)

    def later(self, **span: float) -> None:
        self.wall += timedelta(**span)


async def some_person(pool: Any, name: str) -> Person:
    """A new account; its username is `name` and a number."""
    user_id = new_id()
    username = f"{name}_{user_id.hex[-8:]}"
    await pool.execute(
        "INSERT INTO users (id, username, email, password_hash) VALUES ($1, $2, $3, '')",
        user_id,
        username,
        f"{username}@example.com",
    )
    return Person(user_id, username)


async def some_room(pool: Any, owner: Person, others: Sequence[Person], kind: RoomType = RoomType.GROUP) -> UUID:
    name = None if kind is RoomType.DIRECT else "room"
    room_id, _ = await rooms.create(pool, owner.id, kind, name, [other.id for other in others])
    return room_id
