"""What administrators decide: reports, announcements, feature flags, maintenance."""

from tortoise import fields
from tortoise.fields.db_defaults import SqlDefault

from veza.storage.models.accounts import User
from veza.storage.models.base import Model


class Report(Model):
    """Somebody found something amiss. `author` is whose content it was when reported. `action` is null until closed."""

    id = fields.UUIDField(primary_key=True)
    reporter: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="reports_made", on_delete=fields.CASCADE
    )
    content_type = fields.TextField()
    content_id = fields.UUIDField()
    author: fields.ForeignKeyRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="reports_received", on_delete=fields.CASCADE
    )
    reason = fields.TextField()
    status = fields.TextField(db_default="pending")
    action = fields.TextField(null=True)
    resolved_by: fields.ForeignKeyNullableRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="reports_resolved", on_delete=fields.SET_NULL, null=True
    )
    resolved_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(db_default=SqlDefault("now()"))

    class Meta:
        table = "reports"
        table_description = "Reports to the administrators"


class Announcement(Model):
    """Something for everybody to read, from `starts_at` until `ends_at` (null: until it is deleted)."""

    id = fields.UUIDField(primary_key=True)
    title = fields.TextField()
    content = fields.TextField()
    type = fields.TextField()
    starts_at = fields.DatetimeField(db_default=SqlDefault("now()"))
    ends_at = fields.DatetimeField(null=True)
    created_by: fields.ForeignKeyNullableRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="announcements", on_delete=fields.SET_NULL, null=True
    )
    created_at = fields.DatetimeField(db_default=SqlDefault("now()"))

    class Meta:
        table = "announcements"
        table_description = "Announcements to everybody"


class FeatureFlag(Model):
    """A feature that was turned on or off. One that has no row is as its declaration says."""

    name = fields.CharField(max_length=100, primary_key=True)
    enabled = fields.BooleanField()
    updated_by: fields.ForeignKeyNullableRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="flags_set", on_delete=fields.SET_NULL, null=True
    )
    updated_at = fields.DatetimeField(db_default=SqlDefault("now()"))

    class Meta:
        table = "feature_flags"
        table_description = "Features turned on or off"


class Maintenance(Model):
    """Whether the platform is closed for all but administrators: one row. `updated_at` is null until it ever was."""

    id = fields.IntField(primary_key=True, generated=False)
    enabled = fields.BooleanField(db_default=False)
    message = fields.TextField(null=True)
    updated_by: fields.ForeignKeyNullableRelation[User] = fields.ForeignKeyField(
        "veza.User", related_name="maintenance_set", on_delete=fields.SET_NULL, null=True
    )
    updated_at = fields.DatetimeField(null=True)

    class Meta:
        table = "maintenance"
        table_description = "Maintenance mode"
