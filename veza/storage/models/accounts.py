"""People, their sign-ins and the refresh tokens of those."""

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault

from veza.storage.models.base import Model


class User(Model):
    """A person. `username` and `email` are unique whatever their case (unique indexes on `lower(…)`)."""

    id = fields.UUIDField(primary_key=True)
    username = fields.TextField()
    email = fields.TextField()
    password_hash = fields.TextField()
    role = fields.TextField(db_default="user")
    display_name = fields.TextField(db_default="")
    bio = fields.TextField(db_default="")
    avatar_url = fields.TextField(null=True)
    do_not_sell = fields.BooleanField(db_default=False)
    banned_at = fields.DatetimeField(null=True)
    ban_reason = fields.TextField(null=True)
    deleted_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(db_default=SqlDefault("now()"))

    class Meta:
        table = "users"
        table_description = "People"


class Session(Model):
    """One sign-in on one device, alive until it expires or is revoked."""

    id = fields.UUIDField(primary_key=True)
    user: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="sessions", on_delete=fields.CASCADE
    )
    device = fields.TextField(db_default="")
    ip = fields.TextField(db_default="")
    created_at = fields.DatetimeField(db_default=SqlDefault("now()"))
    last_seen_at = fields.DatetimeField(db_default=SqlDefault("now()"))
    expires_at = fields.DatetimeField(db_index=True)
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        table = "sessions"
        table_description = "Sign-ins"
        indexes = (("user_id", "created_at"),)


class RefreshToken(Model):
    """SHA-256 of a refresh token. `used_at` is set by the one exchange it is good for."""

    token_hash = fields.BinaryField(primary_key=True)
    session: fields.ForeignKeyRelation[Session] = fields.ForeignKeyField(
        "veza.Session", related_name="refresh_tokens", on_delete=fields.CASCADE
    )
    created_at = fields.DatetimeField(db_default=SqlDefault("now()"))
    expires_at = fields.DatetimeField(db_index=True)
    used_at = fields.DatetimeField(null=True)

    class Meta:
        table = "refresh_tokens"
        table_description = "Hashes of refresh tokens"
        indexes = (("session_id",),)
