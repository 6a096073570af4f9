"""Feature flags: what is on, and turning it on and off."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from veza.http.context import Context
from veza.http.features import FEATURES
from veza.http.routing import Auth, Resource
from veza.realtime.events import Person
from veza.storage import switches

resource = Resource("feature-flags", "What can be turned on and off while the platform runs.")

# `$` alone would let a newline follow.
FlagName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}(?!\n)$", examples=["public_rooms"])]


class FeatureFlag(msgspec.Struct, frozen=True):
    """`description` is null for a flag that nothing of the platform itself asks for; `updated_at` and `updated_by`
    while nobody has set it.
    """

    name: str
    enabled: bool
    description: str | None
    updated_at: datetime | None
    updated_by: Person | None


class FeatureFlags(msgspec.Struct, frozen=True):
    """By name."""

    feature_flags: list[FeatureFlag]
    total: int


class Enabled(msgspec.Struct, frozen=True):
    """The names of what is on."""

    feature_flags: list[str]
    total: int


class FlagChange(msgspec.Struct, frozen=True):
    enabled: bool


@resource.get("/feature-flags", auth=Auth.OPTIONAL)
async def list_enabled(ctx: Context) -> Enabled:
    """List what is on for the caller."""
    found = ctx.services.switches.enabled()
    return Enabled(found, len(found))


@resource.get("/admin/feature-flags", auth=Auth.ADMIN)
async def list_flags(ctx: Context) -> FeatureFlags:
    """List all feature flags: those that the platform asks for, and those that were made here."""
    found = {
        name: FeatureFlag(name, feature.default, feature.description, None, None) for name, feature in FEATURES.items()
    }
    found.update((flag.name, _shown(flag)) for flag in await switches.flags(ctx.services.pool))
    return FeatureFlags([found[name] for name in sorted(found)], len(found))


@resource.put("/admin/feature-flags/<name>", auth=Auth.ADMIN)
async def set_flag(ctx: Context, name: FlagName, body: FlagChange) -> FeatureFlag:
    """Turn a feature on or off, everywhere within a second; an unknown one is created."""
    by = ctx.audit("feature_flag.set", name=name, enabled=body.enabled)
    flag = await switches.set_flag(ctx.services.pool, name, body.enabled, by)
    await ctx.services.switches.load(ctx.services.pool)
    return _shown(flag)


def _shown(flag: switches.Flag) -> FeatureFlag:
    feature = FEATURES.get(flag.name)
    return FeatureFlag(
        flag.name, flag.enabled, feature.description if feature else None, flag.updated_at, flag.updated_by
    )
