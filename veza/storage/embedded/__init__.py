"""Real servers started inside the data directory when none is configured: PostgreSQL, Redis, an object store."""

from veza.storage.embedded.objects import Objects
from veza.storage.embedded.postgres import Postgres
from veza.storage.embedded.redis import Redis
from veza.storage.embedded.service import Service

__all__ = ["Objects", "Postgres", "Redis", "Service"]
