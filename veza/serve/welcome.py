"""What a person sees once the platform is ready: where everything is, and what to type next."""

import asyncpg

from veza.config import Settings
from veza.logs import log_file
from veza.serve.instance import public_url
from veza.serve.screen import Screen
from veza.storage.database import connect_arguments


async def welcome(screen: Screen, settings: Settings, elapsed: float) -> None:
    url = public_url(settings)
    screen.heading(f"Ready in {elapsed:.1f} s.")
    for name, address in (
        ("API", f"{url}/api/v1"),
        ("Documentation", f"{url}/swagger"),
        ("Chat socket", f"ws{url.removeprefix('http')}/api/v1/ws"),
        ("Health", f"{url}/api/v1/health/deep"),
        ("Metrics", f"{url}/metrics"),
        ("Object store", settings.s3_endpoint_url),
        ("Data", str(settings.data_dir)),
        ("Log", str(log_file(settings))),
    ):
        screen.line(f"  {name:<14} {screen.emphasis(address)}")
    screen.line()
    screen.line("Register somebody:")
    screen.line(f"  curl -X POST {url}/api/v1/auth/register -H 'Content-Type: application/json' \\")
    screen.line("""    -d '{"username":"ada","email":"ada@example.org","password":"Choose-1-good"}'""")
    screen.line("Chat in the terminal:")
    screen.line(f"  .venv/bin/veza chat --url {url}")
    if not await has_admin(settings):
        screen.line("There is no administrator yet; make one:")
        screen.line("  .venv/bin/veza createadmin --username U --email E --password-stdin")
    screen.line("Ctrl-C stops it.")


async def has_admin(settings: Settings) -> bool:
    connection = await asyncpg.connect(**connect_arguments(settings.database_url), timeout=5)
    try:
        return bool(
            await connection.fetchval(
                "SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND deleted_at IS NULL)", timeout=5
            )
        )
    finally:
        await connection.close()
