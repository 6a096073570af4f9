"""Reports and bans, announcements, feature flags, maintenance."""

from uuid import uuid4

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.fields.db_defaults import SqlDefault
from tortoise.migrations import operations as ops

NOW = SqlDefault("now()")


def moment(**options: object) -> fields.DatetimeField:
    return fields.DatetimeField(auto_now=False, auto_now_add=False, **options)


def person(column: str, related_name: str, *, null: bool = False) -> fields.ForeignKeyField:
    return fields.ForeignKeyField(
        "veza.User",
        source_field=column,
        null=null,
        db_constraint=True,
        to_field="id",
        related_name=related_name,
        on_delete=OnDelete.SET_NULL if null else OnDelete.CASCADE,
    )


MODELS = [
    ops.AddField("User", "ban_reason", fields.TextField(null=True)),
    ops.CreateModel(
        name="Report",
        fields=[
            ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
            ("reporter", person("reporter_id", "reports_made")),
            ("content_type", fields.TextField()),
            ("content_id", fields.UUIDField()),
            ("author", person("author_id", "reports_received")),
            ("reason", fields.TextField()),
            ("status", fields.TextField(db_default="pending")),
            ("action", fields.TextField(null=True)),
            ("resolved_by", person("resolved_by_id", "reports_resolved", null=True)),
            ("resolved_at", moment(null=True)),
            ("created_at", moment(db_default=NOW)),
        ],
        options={
            "table": "reports",
            "app": "veza",
            "table_description": "Reports to the administrators",
            "pk_attr": "id",
        },
        bases=["Model"],
    ),
    ops.CreateModel(
        name="Announcement",
        fields=[
            ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
            ("title", fields.TextField()),
            ("content", fields.TextField()),
            ("type", fields.TextField()),
            ("starts_at", moment(db_default=NOW)),
            ("ends_at", moment(null=True)),
            ("created_by", person("created_by_id", "announcements", null=True)),
            ("created_at", moment(db_default=NOW)),
        ],
        options={
            "table": "announcements",
            "app": "veza",
            "table_description": "Announcements to everybody",
            "pk_attr": "id",
        },
        bases=["Model"],
    ),
    ops.CreateModel(
        name="FeatureFlag",
        fields=[
            ("name", fields.CharField(primary_key=True, unique=True, db_index=True, max_length=100)),
            ("enabled", fields.BooleanField()),
            ("updated_by", person("updated_by_id", "flags_set", null=True)),
            ("updated_at", moment(db_default=NOW)),
        ],
        options={
            "table": "feature_flags",
            "app": "veza",
            "table_description": "Features turned on or off",
            "pk_attr": "name",
        },
        bases=["Model"],
    ),
    ops.CreateModel(
        name="Maintenance",
        fields=[
            ("id", fields.IntField(primary_key=True, generated=False)),
            ("enabled", fields.BooleanField(db_default=False)),
            ("message", fields.TextField(null=True)),
            ("updated_by", person("updated_by_id", "maintenance_set", null=True)),
            ("updated_at", moment(null=True)),
        ],
        options={"table": "maintenance", "app": "veza", "table_description": "Maintenance mode", "pk_attr": "id"},
        bases=["Model"],
    ),
]

PEOPLE = [
    """ALTER TABLE users ADD CONSTRAINT users_ban_check
        CHECK (char_length(ban_reason) BETWEEN 1 AND 500 AND (ban_reason IS NULL OR banned_at IS NOT NULL))""",
    # The administrators' list: all, of a role, banned; found by how a name or an address begins.
    "CREATE INDEX users_created ON users (created_at DESC, id)",
    "CREATE INDEX users_by_role ON users (role, created_at DESC, id)",
    "CREATE INDEX users_banned ON users (created_at DESC, id) WHERE banned_at IS NOT NULL",
    "CREATE INDEX users_username_prefix ON users (lower(username) text_pattern_ops)",
    "CREATE INDEX users_email_prefix ON users (lower(email) text_pattern_ops)",
]

REPORTS = [
    """ALTER TABLE reports
        ADD CONSTRAINT reports_content_type_check
            CHECK (content_type IN ('user', 'track', 'comment', 'message', 'stream', 'product', 'post')),
        ADD CONSTRAINT reports_reason_check CHECK (char_length(reason) BETWEEN 1 AND 1000),
        ADD CONSTRAINT reports_status_check CHECK (status IN ('pending', 'resolved', 'dismissed')),
        ADD CONSTRAINT reports_action_check CHECK (action IN ('resolve', 'dismiss', 'ban', 'warn')),
        ADD CONSTRAINT reports_outcome_check CHECK (
            (status = 'pending') = (action IS NULL) AND (status = 'dismissed') = (coalesce(action, '') = 'dismiss')
            AND (status = 'pending') = (resolved_at IS NULL)),
        ADD CONSTRAINT reports_own_check CHECK (reporter_id <> author_id)""",
    # The same thing is reported once by a person while that report waits.
    """CREATE UNIQUE INDEX reports_pending_key ON reports (reporter_id, content_type, content_id)
        WHERE status = 'pending'""",
    "CREATE INDEX reports_created ON reports (created_at DESC, id DESC)",
    "CREATE INDEX reports_by_status ON reports (status, created_at DESC, id DESC)",
    "CREATE INDEX reports_author ON reports (author_id)",
    "CREATE INDEX reports_reporter ON reports (reporter_id)",
]

ANNOUNCEMENTS = [
    """ALTER TABLE announcements
        ADD CONSTRAINT announcements_title_check CHECK (char_length(title) BETWEEN 1 AND 200),
        ADD CONSTRAINT announcements_content_check CHECK (char_length(content) BETWEEN 1 AND 5000),
        ADD CONSTRAINT announcements_type_check CHECK (type IN ('info', 'warning', 'error')),
        ADD CONSTRAINT announcements_time_check CHECK (ends_at > starts_at)""",
    "CREATE INDEX announcements_starts ON announcements (starts_at DESC, id DESC)",
]

SWITCHES = [
    "ALTER TABLE feature_flags ADD CONSTRAINT feature_flags_name_check CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$')",
    """ALTER TABLE maintenance
        ADD CONSTRAINT maintenance_one_check CHECK (id = 1),
        ADD CONSTRAINT maintenance_message_check CHECK (char_length(message) BETWEEN 1 AND 500)""",
    "INSERT INTO maintenance (id) VALUES (1)",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0003_bounds")]

    operations = [*MODELS, ops.RunSQL([*PEOPLE, *REPORTS, *ANNOUNCEMENTS, *SWITCHES])]
