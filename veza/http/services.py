"""What handlers reach: made once by a gateway, handed to every handler as `ctx.services`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from veza.actors.tasks import TaskSet
from veza.config import Settings
from veza.errors import Unavailable
from veza.http.audit_trail import AuditTrail
from veza.http.health import Health
from veza.http.replays import Replays
from veza.http.switches import Switches
from veza.http.uploads import Uploads
from veza.storage.passwords import Passwords

if TYPE_CHECKING:
    import redis.asyncio

    from veza.http.auth import Authenticator
    from veza.http.gateway import RoomCommands, StreamCommands
    from veza.http.playbacks import Playbacks
    from veza.http.rate_limits import RateLimits
    from veza.storage.objects import ObjectStore
    from veza.storage.payments import Payments


@dataclass(kw_only=True, slots=True)
class Services:
    """`pool` is an asyncpg pool. `cache` and `objects` are None where none is configured. Without `limits` any number
    of requests is let in.

    `rooms` and `streams` are set by a gateway that serves them. `work` is what requests began and must finish without
    their clients.
    """

    settings: Settings
    pool: Any
    authenticator: "Authenticator"
    passwords: Passwords = field(default_factory=Passwords)
    rooms: "RoomCommands" = field(init=False, repr=False, compare=False)
    streams: "StreamCommands" = field(init=False, repr=False, compare=False)
    cache: "redis.asyncio.Redis | None" = None
    objects: "ObjectStore | None" = None
    limits: "RateLimits | None" = None
    payments: "Payments | None" = None
    playbacks: "Playbacks | None" = None
    replays: Replays = field(default_factory=Replays)
    work: TaskSet = field(default_factory=lambda: TaskSet("requests"))
    health: Health = field(default_factory=Health)
    trail: AuditTrail = field(default_factory=AuditTrail)
    switches: Switches = field(default_factory=Switches)
    uploads: Uploads = field(default_factory=Uploads)

    @property
    def paying(self) -> "Payments":
        """The payment providers. Raises Unavailable where there are none."""
        if self.payments is None:
            raise Unavailable("Nothing can be paid here.")
        return self.payments

    @property
    def playing(self) -> "Playbacks":
        """The live streams that are played through this gateway. Raises Unavailable where none are."""
        if self.playbacks is None:
            raise Unavailable("No live streams are played here.")
        return self.playbacks
