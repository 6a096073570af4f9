"""Streams that started, and whose owners' followers are still to be told of it."""

from tortoise import migrations
from tortoise.migrations import operations as ops

NEWS = [
    # A row as long as somebody is to be told. Not columns of `streams`: who tells holds its row while it writes a
    # thousand others, and the shard, which saves the figures of a stream all the time, must not wait for that.
    #
    # Followers are told from the latest to the first, in the order of the index `follows_followers`. All that come
    # before this follow are still to be told; the greatest id begins with all who followed when the row was made.
    """CREATE TABLE stream_news (
        stream_id uuid PRIMARY KEY REFERENCES streams (id) ON DELETE CASCADE,
        followed_before timestamptz NOT NULL DEFAULT now(),
        follower_before uuid NOT NULL DEFAULT 'ffffffff-ffff-ffff-ffff-ffffffffffff',
        due_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE INDEX stream_news_due ON stream_news (due_at)",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0011_stream_moderation")]

    operations = [ops.RunSQL(NEWS)]
