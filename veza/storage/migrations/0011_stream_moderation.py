"""Lists of a stream's moderators and sanctions, newest first, a page behind the other."""

from tortoise import migrations
from tortoise.migrations import operations as ops

INDEXES = [
    # A page begins at a row, so both columns must run the same way.
    "DROP INDEX stream_sanctions_stream",
    "CREATE INDEX stream_sanctions_stream ON stream_sanctions (stream_id, created_at DESC, id DESC)",
    # Also what a shard reads of a stream: of years of short mutes hardly any is in force.
    """CREATE INDEX stream_sanctions_unlifted ON stream_sanctions (stream_id, created_at DESC, id DESC)
        WHERE lifted_at IS NULL""",
    "CREATE INDEX stream_moderators_stream ON stream_moderators (stream_id, created_at DESC, user_id DESC)",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0010_live")]

    operations = [ops.RunSQL(INDEXES)]
