"""What is looked at before anything is started: each obstacle is one sentence."""

import asyncio
import errno
import os
import socket
import time

import psutil

from veza.config import Settings
from veza.errors import StartupError

CONNECT_SECONDS = 5.0


def check_port(settings: Settings, *, patience: float = 0.0) -> None:
    """Raises StartupError when the gateways or the Ingest could not listen, `patience` seconds from now at the latest.

    A killed gateway holds its port until its memory is given back.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            _try_port(settings.host, settings.port, "PORT")
            _try_port(settings.host, settings.rtmp_port, "RTMP_PORT")
        except StartupError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _try_port(host: str, port: int, variable: str) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise StartupError(f"HOST {host} is no address of this machine.") from None
    with socket.socket(family, kind, protocol) as probe:
        # Without SO_REUSEPORT, which the gateways use: with it, two platforms would share a port unnoticed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise StartupError(_why(error, host, port, variable)) from error


def _why(error: OSError, host: str, port: int, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is already in use{_listener(port)}; stop what uses it, or set another {variable}."
    if error.errno == errno.EACCES:
        return f"Port {port} is reserved for root; set a {variable} above 1023."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST {host} is no address of this machine."
    return f"Port {port} of {host} cannot be listened on: {error.strerror}."


def _listener(port: int) -> str:
    try:
        for found in psutil.net_connections("tcp"):
            listening = found.status == psutil.CONN_LISTEN and found.pid
            if listening and getattr(found.laddr, "port", None) == port:
                return f" by process {found.pid} ({psutil.Process(found.pid).name()})"
    except psutil.Error:
        return ""
    return ""


async def check_database(url: str) -> None:
    """Raises StartupError, naming DATABASE_URL, when PostgreSQL does not let us in. No secret is in the text."""
    import asyncpg

    from veza.storage.database import connect_arguments

    arguments = connect_arguments(url)
    place = f"{arguments['host']}:{arguments['port']}"
    try:
        connection = await asyncpg.connect(**arguments, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        reason = f"no answer within {CONNECT_SECONDS:.0f} s" if isinstance(error, TimeoutError) else _reason(error)
        raise StartupError(f"DATABASE_URL: PostgreSQL at {place} cannot be used: {reason}.") from error
    await connection.close()


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return str(error).rstrip(".") or type(error).__name__


def check_database_now(url: str) -> None:
    """`check_database` where no loop runs."""
    asyncio.run(check_database(url))
