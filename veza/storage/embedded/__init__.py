"""Real servers started inside the data directory when none is configured: PostgreSQL, Redis, an object store, a
payment sandbox.
"""

from veza.storage.embedded.objects import Objects
from veza.storage.embedded.postgres import Postgres
from veza.storage.embedded.redis import Redis
from veza.storage.embedded.sandbox import PaymentSandbox
from veza.storage.embedded.service import Service

__all__ = ["Objects", "PaymentSandbox", "Postgres", "Redis", "Service"]
