"""What handlers reach: made once by a gateway, handed to every handler as `ctx.services`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from veza.config import Settings
from veza.http.health import Health
from veza.storage.passwords import Passwords

if TYPE_CHECKING:
    from veza.http.auth import Authenticator


@dataclass(kw_only=True, slots=True)
class Services:
    """`pool` is an asyncpg pool; `cache` a `redis.asyncio` client; `objects` the object store.

    The last two are None where none is configured.
    """

    settings: Settings
    pool: Any
    authenticator: "Authenticator"
    passwords: Passwords = field(default_factory=Passwords)
    rooms: Any = None
    cache: Any = None
    objects: Any = None
    health: Health = field(default_factory=Health)
