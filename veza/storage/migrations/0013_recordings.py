"""Recordings of live streams: what was sent, piece by piece, in the object store."""

from tortoise import migrations
from tortoise.migrations import operations as ops

RECORDINGS = [
    # `multivariant` is the playlist that a player begins with. Without `finished_at` there is more to come.
    """CREATE TABLE recordings (
        stream_id uuid PRIMARY KEY REFERENCES streams (id) ON DELETE CASCADE,
        multivariant text NOT NULL DEFAULT '',
        duration_ms bigint NOT NULL DEFAULT 0,
        size_bytes bigint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        CONSTRAINT recordings_sums_check CHECK (duration_ms >= 0 AND size_bytes >= 0)
    )""",
    # Segments have a sequence, what initializes a decoder has none. Names are those that players had live.
    """CREATE TABLE recording_files (
        stream_id uuid NOT NULL REFERENCES recordings (stream_id) ON DELETE CASCADE,
        name text NOT NULL,
        object_key text NOT NULL,
        size_bytes bigint NOT NULL,
        sequence bigint,
        init integer,
        duration_ms integer,
        discontinuity boolean,
        began_at timestamptz,
        PRIMARY KEY (stream_id, name),
        CONSTRAINT recording_files_size_check CHECK (size_bytes > 0),
        CONSTRAINT recording_files_segment_check CHECK (CASE WHEN sequence IS NULL
            THEN num_nonnulls(init, duration_ms, discontinuity, began_at) = 0
            ELSE num_nulls(init, duration_ms, discontinuity, began_at) = 0 END)
    )""",
    "CREATE UNIQUE INDEX recording_files_sequence ON recording_files (stream_id, sequence) WHERE sequence IS NOT NULL",
    # However a file goes, its object follows.
    """CREATE TRIGGER recording_files_gone AFTER DELETE ON recording_files
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION loosen_objects()""",
    # A replay shows what was written at that time.
    "CREATE INDEX stream_messages_time ON stream_messages (stream_id, created_at, seq)",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0012_stream_news")]

    operations = [ops.RunSQL(RECORDINGS)]
