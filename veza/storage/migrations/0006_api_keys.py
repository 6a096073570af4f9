"""Keys for programs."""

from tortoise import migrations
from tortoise.migrations import operations as ops

API_KEYS = [
    # Of the key itself only its hash is kept: 32 random bytes need no slow one.
    """CREATE TABLE api_keys (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        key_hash bytea NOT NULL,
        name text NOT NULL,
        prefix text NOT NULL,
        scopes text[] NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        last_used_at timestamptz,
        revoked_at timestamptz,
        CONSTRAINT api_keys_hash_check CHECK (octet_length(key_hash) = 32),
        CONSTRAINT api_keys_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
        CONSTRAINT api_keys_scopes_check CHECK (scopes <@ ARRAY['read', 'write'] AND cardinality(scopes) BETWEEN 1 AND 2),
        CONSTRAINT api_keys_expiry_check CHECK (expires_at > created_at)
    ) WITH (fillfactor = 80)""",
    "CREATE UNIQUE INDEX api_keys_hash_key ON api_keys (key_hash)",
    "CREATE INDEX api_keys_user ON api_keys (user_id, created_at DESC, id DESC) WHERE revoked_at IS NULL",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0005_audit")]

    operations = [ops.RunSQL(API_KEYS)]
