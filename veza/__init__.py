"""Veza backend: Ray actors own what is live, a Sanic facade translates, PostgreSQL keeps what must last."""

__version__ = "0.1.0"
