"""Live streams: their keys, chats and moderation; who follows whom."""

from tortoise import migrations
from tortoise.migrations import operations as ops

PARTITIONS = [
    # Streams have partitions of their own: 256 and the last byte of the id.
    "ALTER TABLE partition_owner DROP CONSTRAINT partition_owner_partition_check",
    """ALTER TABLE partition_owner
        ADD CONSTRAINT partition_owner_partition_check CHECK (partition BETWEEN 0 AND 511)""",
    "INSERT INTO partition_owner (partition) SELECT generate_series(256, 511)",
]

STREAMS = [
    # `array_to_string` is not immutable for all types; for text it is.
    """CREATE FUNCTION words_of_tags(tags text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
        AS $$ SELECT array_to_string(tags, ' ') $$""",
    # `playback_id` is the address of its pictures, and no other secret guards them. `ingest` is the actor that has the
    # source of a live one, under `source_id`. Interrupted, it waits for its source to return.
    """CREATE TABLE streams (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users (id),
        title text NOT NULL,
        description text NOT NULL DEFAULT '',
        category text NOT NULL DEFAULT 'other',
        tags text[] NOT NULL DEFAULT '{}',
        status text NOT NULL DEFAULT 'draft',
        is_private boolean NOT NULL DEFAULT false,
        is_recorded boolean NOT NULL DEFAULT false,
        slow_mode_seconds integer NOT NULL DEFAULT 0,
        playback_id text NOT NULL,
        source text,
        source_id uuid,
        ingest text,
        scheduled_at timestamptz,
        started_at timestamptz,
        interrupted_at timestamptz,
        ended_at timestamptz,
        viewer_count integer NOT NULL DEFAULT 0,
        peak_viewers integer NOT NULL DEFAULT 0,
        message_count bigint NOT NULL DEFAULT 0,
        reaction_count bigint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        is_live boolean NOT NULL GENERATED ALWAYS AS (status IN ('live', 'interrupted')) STORED,
        search tsvector NOT NULL GENERATED ALWAYS AS
            (setweight(to_tsvector('veza', title), 'A') || setweight(to_tsvector('veza', words_of_tags(tags)), 'A')
             || setweight(to_tsvector('veza', description), 'B')) STORED,
        CONSTRAINT streams_title_check CHECK (char_length(title) BETWEEN 1 AND 200),
        CONSTRAINT streams_description_check CHECK (char_length(description) <= 5000),
        CONSTRAINT streams_category_check CHECK (category IN
            ('music', 'talk', 'podcast', 'dj_set', 'production', 'lesson', 'other')),
        CONSTRAINT streams_tags_check CHECK (cardinality(tags) <= 10 AND array_position(tags, NULL) IS NULL),
        CONSTRAINT streams_status_check CHECK (status IN ('draft', 'scheduled', 'live', 'interrupted', 'ended')),
        CONSTRAINT streams_slow_mode_check CHECK (slow_mode_seconds BETWEEN 0 AND 3600),
        CONSTRAINT streams_playback_id_check CHECK (char_length(playback_id) BETWEEN 22 AND 64),
        CONSTRAINT streams_source_check CHECK (source IN ('rtmp', 'external')),
        CONSTRAINT streams_scheduled_check CHECK (status <> 'scheduled' OR scheduled_at IS NOT NULL),
        CONSTRAINT streams_started_check CHECK (CASE status
            WHEN 'draft' THEN started_at IS NULL
            WHEN 'scheduled' THEN started_at IS NULL
            WHEN 'ended' THEN true
            WHEN 'live' THEN started_at IS NOT NULL AND source IS NOT NULL AND source_id IS NOT NULL
            ELSE started_at IS NOT NULL END),
        CONSTRAINT streams_interrupted_check CHECK ((status = 'interrupted') = (interrupted_at IS NOT NULL)),
        CONSTRAINT streams_ended_check CHECK ((status = 'ended') = (ended_at IS NOT NULL)),
        CONSTRAINT streams_counts_check CHECK (
            viewer_count >= 0 AND peak_viewers >= viewer_count AND message_count >= 0 AND reaction_count >= 0)
    ) WITH (fillfactor = 70)""",
    "CREATE UNIQUE INDEX streams_playback_id ON streams (playback_id)",
    "CREATE INDEX streams_user ON streams (user_id, created_at DESC, id DESC)",
    # Which of them a source that comes belongs to.
    "CREATE INDEX streams_open ON streams (user_id, created_at DESC, id DESC) WHERE status <> 'ended'",
    # What is on the air, for those who look after all of it when an owner or a source is gone.
    "CREATE INDEX streams_on_air ON streams (id) WHERE status IN ('live', 'interrupted')",
    # The list is in one of two orders; what it can be narrowed by is in both.
    """CREATE INDEX streams_most_viewed ON streams (is_live DESC, viewer_count DESC, created_at DESC, id DESC)
        INCLUDE (category, user_id) WHERE NOT is_private""",
    """CREATE INDEX streams_newest ON streams ((coalesce(started_at, created_at)) DESC, id DESC)
        INCLUDE (started_at, created_at, is_live, category, user_id) WHERE NOT is_private""",
    "CREATE INDEX streams_tags ON streams USING gin (tags) WHERE NOT is_private",
    "CREATE INDEX streams_search ON streams USING gin (search) WHERE NOT is_private",
    # Of a key there is what finds it and, sealed, itself: its owner is shown it again and again.
    """CREATE TABLE stream_keys (
        user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
        key_hash bytea NOT NULL,
        key_sealed bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT stream_keys_hash_check CHECK (octet_length(key_hash) = 32)
    )""",
    "CREATE UNIQUE INDEX stream_keys_hash ON stream_keys (key_hash)",
]

CHAT = [
    # No foreign keys, as with the events of rooms: it is written by the thousand.
    """CREATE TABLE stream_messages (
        stream_id uuid NOT NULL,
        seq bigint NOT NULL,
        id uuid NOT NULL,
        sender_id uuid NOT NULL,
        client_msg_id text,
        content text NOT NULL,
        created_at timestamptz NOT NULL,
        deleted_at timestamptz,
        PRIMARY KEY (stream_id, seq),
        CONSTRAINT stream_messages_seq_check CHECK (seq >= 1)
    )""",
    "CREATE UNIQUE INDEX stream_messages_id_key ON stream_messages (id)",
    """CREATE UNIQUE INDEX stream_messages_client_msg_id_key ON stream_messages (stream_id, sender_id, client_msg_id)
        WHERE client_msg_id IS NOT NULL""",
    """CREATE TABLE stream_moderators (
        stream_id uuid NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (stream_id, user_id)
    )""",
    "CREATE INDEX stream_moderators_user ON stream_moderators (user_id)",
    """CREATE TABLE stream_sanctions (
        id uuid PRIMARY KEY,
        stream_id uuid NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        action text NOT NULL,
        reason text NOT NULL DEFAULT '',
        by_id uuid NOT NULL,
        until timestamptz,
        created_at timestamptz NOT NULL,
        lifted_at timestamptz,
        CONSTRAINT stream_sanctions_action_check CHECK (action IN ('mute', 'ban')),
        CONSTRAINT stream_sanctions_reason_check CHECK (char_length(reason) <= 500)
    )""",
    "CREATE INDEX stream_sanctions_stream ON stream_sanctions (stream_id, created_at DESC, id)",
    "CREATE INDEX stream_sanctions_user ON stream_sanctions (user_id)",
]

FOLLOWS = [
    """CREATE TABLE follows (
        follower_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        followed_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (follower_id, followed_id),
        CONSTRAINT follows_self_check CHECK (follower_id <> followed_id)
    )""",
    "CREATE INDEX follows_followers ON follows (followed_id, created_at DESC, follower_id DESC)",
    "CREATE INDEX follows_following ON follows (follower_id, created_at DESC, followed_id DESC)",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0009_money")]

    operations = [ops.RunSQL(part) for part in (PARTITIONS, STREAMS, CHAT, FOLLOWS)]
