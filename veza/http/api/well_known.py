"""What machines look for at fixed addresses: whom to tell of a hole, and that Global Privacy Control is honoured."""

from datetime import UTC, datetime, timedelta

import msgspec
from sanic.response import HTTPResponse, text

from veza.config import Settings
from veza.http.context import Context
from veza.http.routing import Auth, Resource

resource = Resource("well-known", "What machines look for at fixed addresses.")

# RFC 9116 asks for less than a year. Told anew each day, so that it never runs out.
EXPIRES_AFTER = timedelta(days=180)
# Since when Sec-GPC is honoured.
GPC_SINCE = "2026-02-23"


class PrivacyControl(msgspec.Struct, frozen=True, rename={"last_update": "lastUpdate"}):
    """Global Privacy Control: whether it is honoured, and since when."""

    gpc: bool
    last_update: str


@resource.get("/.well-known/security.txt", auth=Auth.NONE, produces="text/plain", root=True)
async def security_txt(ctx: Context) -> HTTPResponse:
    """Whom to tell about a security hole (RFC 9116)."""
    return text(security_text(ctx.services.settings, datetime.now(UTC)), content_type="text/plain; charset=utf-8")


@resource.get("/.well-known/gpc.json", auth=Auth.NONE, bare=True, root=True)
async def privacy_control(ctx: Context) -> PrivacyControl:  # noqa: ARG001
    """That the signal `Sec-GPC: 1` is honoured."""
    return PrivacyControl(True, GPC_SINCE)


def security_text(settings: Settings, now: datetime) -> str:
    expires = (now + EXPIRES_AFTER).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [
        f"Contact: {contact(settings)}",
        f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en",
    ]
    if settings.production:
        # Only an https address may be called canonical.
        lines.append(f"Canonical: https://{settings.app_domain}/.well-known/security.txt")
    return "\n".join(lines) + "\n"


def contact(settings: Settings) -> str:
    """Where reports go, as a URI."""
    return settings.security_contact or f"mailto:security@{settings.app_domain.partition(':')[0]}"
