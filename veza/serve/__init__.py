"""The composition root: starts what is not configured, migrates, starts Ray and its actors, drains."""

from veza.serve.lifecycle import serve
from veza.serve.relay import in_own_session

__all__ = ["in_own_session", "serve"]
