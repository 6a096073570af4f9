"""Accounts, rooms and their log, ownership of partitions, the control log.

The models come first. What Tortoise has no words for follows as SQL: checks, indexes on expressions, tables with
a key of several columns, storage parameters.
"""

from uuid import uuid4

from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.fields.db_defaults import SqlDefault
from tortoise.indexes import Index
from tortoise.migrations import operations as ops


def moment(**options: object) -> fields.DatetimeField:
    return fields.DatetimeField(auto_now=False, auto_now_add=False, **options)


NOW = SqlDefault("now()")

MODELS = [
    ops.CreateModel(
        name="ControlEntry",
        fields=[
            ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
            ("kind", fields.TextField()),
            ("subject", fields.TextField()),
            ("created_at", moment(db_default=NOW, db_index=True)),
        ],
        options={
            "table": "control_log",
            "app": "veza",
            "table_description": "Events for every gateway",
            "pk_attr": "id",
        },
        bases=["Model"],
    ),
    ops.CreateModel(
        name="PartitionOwner",
        fields=[
            ("partition", fields.IntField(primary_key=True, generated=False)),
            ("epoch", fields.BigIntField(db_default=0)),
            ("owner", fields.TextField(null=True)),
        ],
        options={
            "table": "partition_owner",
            "app": "veza",
            "table_description": "Who owns which partition",
            "pk_attr": "partition",
        },
        bases=["Model"],
    ),
    ops.CreateModel(
        name="User",
        fields=[
            ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
            ("username", fields.TextField()),
            ("email", fields.TextField()),
            ("password_hash", fields.TextField()),
            ("role", fields.TextField(db_default="user")),
            ("display_name", fields.TextField(db_default="")),
            ("bio", fields.TextField(db_default="")),
            ("avatar_url", fields.TextField(null=True)),
            ("do_not_sell", fields.BooleanField(db_default=False)),
            ("banned_at", moment(null=True)),
            ("deleted_at", moment(null=True)),
            ("created_at", moment(db_default=NOW)),
        ],
        options={"table": "users", "app": "veza", "table_description": "People", "pk_attr": "id"},
        bases=["Model"],
    ),
    ops.CreateModel(
        name="Room",
        fields=[
            ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
            ("type", fields.TextField()),
            ("name", fields.TextField(null=True)),
            (
                "owner",
                fields.ForeignKeyField(
                    "veza.User",
                    source_field="owner_id",
                    db_constraint=True,
                    to_field="id",
                    related_name="owned_rooms",
                    on_delete=OnDelete.RESTRICT,
                ),
            ),
            ("direct_key", fields.TextField(null=True)),
            ("created_at", moment(db_default=NOW)),
            ("deleted_at", moment(null=True)),
        ],
        options={"table": "rooms", "app": "veza", "table_description": "Conversations", "pk_attr": "id"},
        bases=["Model"],
    ),
    ops.CreateModel(
        name="Session",
        fields=[
            ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
            (
                "user",
                fields.ForeignKeyField(
                    "veza.User",
                    source_field="user_id",
                    db_constraint=True,
                    to_field="id",
                    related_name="sessions",
                    on_delete=OnDelete.CASCADE,
                ),
            ),
            ("device", fields.TextField(db_default="")),
            ("ip", fields.TextField(db_default="")),
            ("created_at", moment(db_default=NOW)),
            ("last_seen_at", moment(db_default=NOW)),
            ("expires_at", moment(db_index=True)),
            ("revoked_at", moment(null=True)),
        ],
        options={
            "table": "sessions",
            "table_description": "Sign-ins",
            "app": "veza",
            "indexes": [Index(fields=["user_id", "created_at"])],
            "pk_attr": "id",
        },
        bases=["Model"],
    ),
    ops.CreateModel(
        name="RefreshToken",
        fields=[
            ("token_hash", fields.BinaryField(primary_key=True)),
            (
                "session",
                fields.ForeignKeyField(
                    "veza.Session",
                    source_field="session_id",
                    db_constraint=True,
                    to_field="id",
                    related_name="refresh_tokens",
                    on_delete=OnDelete.CASCADE,
                ),
            ),
            ("created_at", moment(db_default=NOW)),
            ("expires_at", moment(db_index=True)),
            ("used_at", moment(null=True)),
        ],
        options={
            "table": "refresh_tokens",
            "table_description": "Hashes of refresh tokens",
            "app": "veza",
            "indexes": [Index(fields=["session_id"])],
            "pk_attr": "token_hash",
        },
        bases=["Model"],
    ),
]

ACCOUNTS = [
    """ALTER TABLE users
        ADD CONSTRAINT users_role_check CHECK (role IN ('user', 'creator', 'moderator', 'admin')),
        ADD CONSTRAINT users_username_check CHECK (char_length(username) BETWEEN 3 AND 64),
        ADD CONSTRAINT users_email_check CHECK (char_length(email) BETWEEN 3 AND 254),
        ADD CONSTRAINT users_profile_check CHECK (char_length(display_name) <= 50 AND char_length(bio) <= 1000
            AND char_length(avatar_url) <= 2048)""",
    "CREATE UNIQUE INDEX users_username_key ON users (lower(username))",
    "CREATE UNIQUE INDEX users_email_key ON users (lower(email))",
    # last_seen_at changes once a minute: room on the page keeps the update off the indexes.
    "ALTER TABLE sessions SET (fillfactor = 80)",
    "ALTER TABLE sessions ADD CONSTRAINT sessions_expiry_check CHECK (expires_at > created_at)",
    "ALTER TABLE refresh_tokens ADD CONSTRAINT refresh_tokens_hash_check CHECK (octet_length(token_hash) = 32)",
    # The key is a hash: no address and no e-mail is kept for having mistyped a password.
    """CREATE TABLE login_failures (
        key text NOT NULL,
        failed_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE INDEX login_failures_key ON login_failures (key, failed_at)",
    "CREATE INDEX login_failures_failed_at ON login_failures (failed_at)",
]

ROOMS = [
    """ALTER TABLE rooms
        ADD CONSTRAINT rooms_type_check CHECK (type IN ('direct', 'group', 'public')),
        ADD CONSTRAINT rooms_name_check CHECK (char_length(name) BETWEEN 1 AND 50),
        ADD CONSTRAINT rooms_direct_key_check CHECK (direct_key IS NULL OR type = 'direct')""",
    "CREATE UNIQUE INDEX rooms_direct_key_key ON rooms (direct_key)",
    "CREATE INDEX rooms_owner ON rooms (owner_id)",
    "CREATE INDEX rooms_public ON rooms (created_at DESC, id) WHERE type = 'public' AND deleted_at IS NULL",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX rooms_public_name ON rooms USING gin (name gin_trgm_ops) WHERE type = 'public' AND deleted_at IS NULL",
    # last_read_seq moves with every message read: half-empty pages keep those updates off the indexes, and an
    # early vacuum keeps the pages reusable.
    """CREATE TABLE room_members (
        room_id uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        role text NOT NULL DEFAULT 'member',
        last_read_seq bigint NOT NULL DEFAULT 0,
        joined_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (room_id, user_id),
        CONSTRAINT room_members_role_check CHECK (role IN ('owner', 'moderator', 'member')),
        CONSTRAINT room_members_last_read_check CHECK (last_read_seq >= 0)
    ) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500)""",
    "CREATE INDEX room_members_user ON room_members (user_id)",
    # The hot path of inserts: no foreign keys (the shard that owns the room has checked), no further index.
    # Rows are never updated, so pages are filled, and vacuum is needed only to mark them visible.
    """CREATE TABLE room_events (
        room_id uuid NOT NULL,
        seq bigint NOT NULL,
        id uuid NOT NULL,
        kind text NOT NULL,
        sender_id uuid,
        client_msg_id text,
        body jsonb NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (room_id, seq),
        CONSTRAINT room_events_seq_check CHECK (seq > 0)
    ) WITH (autovacuum_vacuum_insert_scale_factor = 0.1)""",
    "CREATE UNIQUE INDEX room_events_id_key ON room_events (id)",
    """CREATE UNIQUE INDEX room_events_client_msg_id_key ON room_events (room_id, sender_id, client_msg_id)
        WHERE client_msg_id IS NOT NULL""",
]

CONTROL = [
    """ALTER TABLE partition_owner
        ADD CONSTRAINT partition_owner_partition_check CHECK (partition BETWEEN 0 AND 255),
        ADD CONSTRAINT partition_owner_epoch_check CHECK (epoch >= 0)""",
    # Every commit locks its partitions' rows: they must stay on few pages, and be tidied by count, not by share.
    """ALTER TABLE partition_owner SET (fillfactor = 25,
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 256,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 2560)""",
    "INSERT INTO partition_owner (partition) SELECT generate_series(0, 255)",
]

IDEMPOTENCY = [
    # status and body are null while the first request is at work.
    """CREATE TABLE idempotency_keys (
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        key text NOT NULL,
        fingerprint bytea NOT NULL,
        status integer,
        body bytea,
        created_at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (user_id, key),
        CONSTRAINT idempotency_keys_key_check CHECK (char_length(key) BETWEEN 1 AND 128),
        CONSTRAINT idempotency_keys_answer_check CHECK ((status IS NULL) = (body IS NULL))
    )""",
    "CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at)",
]


class Migration(migrations.Migration):
    initial = True

    operations = [*MODELS, ops.RunSQL([*ACCOUNTS, *ROOMS, *CONTROL, *IDEMPOTENCY])]
