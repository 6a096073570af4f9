"""The tables, described for Tortoise: migrations are made from these, and plain reads may use them.

Tables whose key is more than one column (`room_members`, `room_events`) or that have none (`login_failures`)
cannot be described to Tortoise; the migration that makes them is their description.
"""

from veza.storage.models.accounts import RefreshToken, Session, User
from veza.storage.models.administration import Announcement, FeatureFlag, Maintenance, Report
from veza.storage.models.control import ControlEntry
from veza.storage.models.rooms import PartitionOwner, Room

__all__ = [
    "Announcement",
    "ControlEntry",
    "FeatureFlag",
    "Maintenance",
    "PartitionOwner",
    "RefreshToken",
    "Report",
    "Room",
    "Session",
    "User",
]
