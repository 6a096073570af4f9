"""Promise P: who is there is shown as they are, and nobody else, once the leases of the lost have ended."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from veza.realtime import presence, takeover
from veza.realtime.presence import OFFLINE, strongest

if TYPE_CHECKING:
    from simulation.world import World

# A connection that broke unnoticed is found out after this long.
UNNOTICED_S = 3.0
# A new shard, a map, and some ticks, which all take their time.
MARGIN_S = 4.0


def longest_s() -> float:
    """How long after the last fault somebody may be shown wrongly."""
    return UNNOTICED_S + presence.LEASE_S + presence.GRACE_S + takeover.SETTLE_S + MARGIN_S


class Shown:
    """What a client was told of others on its connection. Once something was dropped it asks when it wants to know
    (`get_members`).
    """

    def __init__(self) -> None:
        self.statuses: dict[tuple[UUID, UUID], str] = {}  # room, user
        self._unsure = False

    def begin(self) -> None:
        self.statuses, self._unsure = {}, False

    def missed(self) -> None:
        """Something was dropped on its way."""
        self.statuses, self._unsure = {}, True

    def heard(self, frame: dict[str, Any]) -> None:
        if not self._unsure:
            self.statuses[UUID(frame["room_id"]), UUID(frame["user_id"])] = frame["status"]

    def forget(self, room_id: UUID, user_id: UUID | None = None) -> None:
        self.statuses = {
            (room, user): status
            for (room, user), status in self.statuses.items()
            if room != room_id or user_id not in (None, user)
        }


def wrong(world: "World") -> str | None:
    """Who is not shown as they are."""
    for person in world.people:
        chosen = {client.status for client in world.clients if client.person is person and client.connected}
        status = strongest(chosen) if chosen else OFFLINE
        visible = OFFLINE if status == "invisible" else status
        if what := _wrong_of(world, person.id, visible):
            return f"{person.username} is {visible}, and {what}"
    return None


def _wrong_of(world: "World", user_id: UUID, visible: str) -> str | None:
    owner = world.owner_of(user_id)
    if owner is None:
        return "nobody knows"
    if (known := owner.core.presence.status(user_id)) != visible:
        return f"{owner.name} says {known}"
    if user_id not in world.unsure and (user_id in world.store.shown) != (visible != OFFLINE):
        return "what others were told is another thing"
    if world.unheard(user_id):
        # It is noted before it is told, and dropped like all that is transient when the shard dies in between.
        return None
    for client in world.clients:
        for (room_id, other), told in client.presence.statuses.items():
            room = world.store.rooms[room_id]
            # A new owner is told who is there, but not of whom others know another status than that.
            same = told == visible or (world.trouble and OFFLINE not in (told, visible))
            if other == user_id and not same and user_id in room.members and not room.deleted:
                return f"{client.name} was told {told} in {world.name(room_id)}"
    return None
