"""Feature flags and maintenance mode as this gateway knows them: in memory, so that asking costs nothing.

Read from PostgreSQL at the start, with each event of the control log about them, and whenever the log could not be
followed for a while. While PostgreSQL is away, what was last known holds.
"""

import asyncio
from typing import Any

from veza.errors import FeatureDisabled, UnderMaintenance
from veza.http.features import FEATURES, Feature
from veza.realtime.principal import Role
from veza.storage import switches
from veza.storage.control_log import ControlKind

CHANGES = frozenset({ControlKind.FLAGS_CHANGED, ControlKind.MAINTENANCE_CHANGED})
# What administrators and machines need to see it through, and to end it.
OPEN_AREAS = (
    ".well-known",
    "admin",
    "auth",
    "csrf-token",
    "health",
    "healthz",
    "metrics",
    "readyz",
    "status",
    "webhooks",
)


def stays_open(path: str) -> bool:
    """Whether a route, below the API's prefix, answers everybody during maintenance."""
    return path.split("/")[1] in OPEN_AREAS


class Switches:
    """`closed` during maintenance."""

    def __init__(self) -> None:
        self.closed = False
        self._message: str | None = None
        self._flags: dict[str, bool] = {}
        self._loading = asyncio.Lock()

    async def load(self, pool: Any) -> None:
        """Know everything as it is now. One after another: an older picture never replaces a newer one."""
        async with self._loading:
            state = await switches.load(pool)
            self.closed, self._message, self._flags = state.maintenance, state.message, state.flags

    def is_enabled(self, name: str, default: bool = False) -> bool:
        """Whether a feature is on; `default` while nobody has set its flag."""
        return self._flags.get(name, default)

    def require(self, feature: Feature) -> None:
        """Raises FeatureDisabled when it is off."""
        if not self.is_enabled(feature.name, feature.default):
            raise FeatureDisabled

    def enabled(self) -> list[str]:
        """The names of all that is on."""
        defaults = {name: feature.default for name, feature in FEATURES.items()}
        return sorted(name for name, on in {**defaults, **self._flags}.items() if on)

    def admits(self, role: Role | None) -> bool:
        """Whether the platform is open now to somebody with this role, or to a stranger."""
        return not self.closed or role is Role.ADMIN

    def admit(self, role: Role | None) -> None:
        """Raises UnderMaintenance for whom the platform is closed."""
        if not self.admits(role):
            raise UnderMaintenance(self._message)
