"""The database for a command that runs beside the platform, or without it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from veza.config import Settings
from veza.serve.instance import only_instance, running
from veza.serve.preflight import check_database


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The configured one, else that of the platform running on the data directory, else one started for now."""
    if settings.database_url:
        asyncio.run(check_database(settings.database_url))
        yield settings.database_url
        return
    if (state := running(settings.data_dir)) is not None:
        yield state.database_url
        return
    from veza.storage.embedded import Postgres

    with only_instance(settings.data_dir):
        server = Postgres(settings.data_dir)
        try:
            server.start()
            asyncio.run(server.ready())
            yield server.url
        finally:
            server.stop()
