"""The audit log, a partition a month. Tortoise has no word for partitions."""

from tortoise import migrations
from tortoise.migrations import operations as ops

AUDIT = [
    # No foreign key: what somebody did stays known when they are gone.
    """CREATE TABLE audit_log (
        id uuid NOT NULL,
        user_id uuid,
        action text NOT NULL,
        resource text NOT NULL,
        ip text NOT NULL DEFAULT '',
        user_agent text NOT NULL DEFAULT '',
        status integer NOT NULL,
        request_id text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL,
        details jsonb NOT NULL DEFAULT '{}',
        PRIMARY KEY (created_at, id)
    ) PARTITION BY RANGE (created_at)""",
    # Whatever has no month of its own yet: nothing is ever refused.
    "CREATE TABLE audit_log_rest PARTITION OF audit_log DEFAULT",
    "CREATE INDEX audit_log_user ON audit_log (user_id, created_at DESC, id DESC)",
    "CREATE INDEX audit_log_action ON audit_log (action, created_at DESC, id DESC)",
    "CREATE INDEX audit_log_ip ON audit_log (ip, created_at DESC, id DESC)",
    "CREATE INDEX audit_log_resource ON audit_log (resource text_pattern_ops, created_at DESC)",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0004_administration")]

    operations = [ops.RunSQL(AUDIT)]
