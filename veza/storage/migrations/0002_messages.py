"""What happens to messages after they were sent, sanctions, blocks, attachments, notifications, retention."""

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

ROOMS = [
    # Events before first_seq are gone by the room's retention: the lower bound that history states.
    """ALTER TABLE rooms
        ADD CONSTRAINT rooms_first_seq_check CHECK (first_seq >= 1),
        ADD CONSTRAINT rooms_retention_check CHECK (retention_days BETWEEN 1 AND 36500)""",
    "CREATE INDEX rooms_retention ON rooms (id) WHERE retention_days IS NOT NULL AND deleted_at IS NULL",
]

MESSAGES = [
    # The message's own row is the only place that has its content: an edit replaces it there, a deletion removes it.
    """ALTER TABLE room_events
        ADD COLUMN edited_at timestamptz,
        ADD COLUMN deleted_at timestamptz,
        ADD COLUMN pinned_at timestamptz""",
    "CREATE INDEX room_events_pinned ON room_events (room_id, seq) WHERE pinned_at IS NOT NULL",
    """CREATE INDEX room_events_thread ON room_events (((body ->> 'parent_id')::uuid), seq)
        WHERE body ? 'parent_id'""",
    # Words as they are written, whatever the language, but for case and accents.
    "CREATE EXTENSION IF NOT EXISTS unaccent",
    "CREATE EXTENSION IF NOT EXISTS btree_gin",
    "CREATE TEXT SEARCH CONFIGURATION veza (COPY = simple)",
    "ALTER TEXT SEARCH CONFIGURATION veza ALTER MAPPING FOR hword, hword_part, word WITH unaccent, simple",
    # Of the room and the words together, so that a small room is searched as fast as a large one. New entries wait in a
    # list that a commit now and then merges: a short one, or that commit takes a tenth of a second.
    """CREATE INDEX room_events_search ON room_events
        USING gin (room_id, to_tsvector('veza', coalesce(body ->> 'content', '')))
        WITH (gin_pending_list_limit = 256)
        WHERE kind = 'message' AND deleted_at IS NULL""",
    """CREATE TABLE message_reactions (
        room_id uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
        message_id uuid NOT NULL,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        emoji text NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (message_id, user_id, emoji),
        CONSTRAINT message_reactions_emoji_check CHECK (char_length(emoji) BETWEEN 1 AND 32)
    )""",
    "CREATE INDEX message_reactions_user ON message_reactions (user_id)",
    "CREATE INDEX message_reactions_room ON message_reactions (room_id)",
]

SANCTIONS = [
    """CREATE TABLE room_sanctions (
        id uuid PRIMARY KEY,
        room_id uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        action text NOT NULL,
        reason text NOT NULL DEFAULT '',
        by_id uuid NOT NULL,
        until timestamptz,
        created_at timestamptz NOT NULL,
        lifted_at timestamptz,
        CONSTRAINT room_sanctions_action_check CHECK (action IN ('warn', 'mute', 'kick', 'ban')),
        CONSTRAINT room_sanctions_reason_check CHECK (char_length(reason) <= 500)
    )""",
    "CREATE INDEX room_sanctions_room ON room_sanctions (room_id, created_at DESC, id)",
    "CREATE INDEX room_sanctions_user ON room_sanctions (user_id)",
]

BLOCKS = [
    """CREATE TABLE blocks (
        blocker_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        blocked_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (blocker_id, blocked_id),
        CONSTRAINT blocks_self_check CHECK (blocker_id <> blocked_id)
    )""",
    "CREATE INDEX blocks_blocked ON blocks (blocked_id)",
]

ATTACHMENTS = [
    # message_id is null until a message carries it; what never gets one is swept away.
    """CREATE TABLE attachments (
        id uuid PRIMARY KEY,
        room_id uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        message_id uuid,
        name text NOT NULL,
        mime_type text NOT NULL,
        size_bytes bigint NOT NULL,
        sha256 bytea NOT NULL,
        object_key text NOT NULL UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT attachments_name_check CHECK (char_length(name) BETWEEN 1 AND 255),
        CONSTRAINT attachments_size_check CHECK (size_bytes > 0),
        CONSTRAINT attachments_hash_check CHECK (octet_length(sha256) = 32)
    )""",
    "CREATE INDEX attachments_room ON attachments (room_id)",
    "CREATE INDEX attachments_user ON attachments (user_id)",
    "CREATE INDEX attachments_message ON attachments (message_id) WHERE message_id IS NOT NULL",
    "CREATE INDEX attachments_unused ON attachments (created_at) WHERE message_id IS NULL",
    "CREATE INDEX rooms_deleted ON rooms (id) WHERE deleted_at IS NOT NULL",
    # Objects in the store that no row owns: uploads under way, and what was removed. Due, they are deleted.
    """CREATE TABLE loose_objects (
        object_key text PRIMARY KEY,
        due_at timestamptz NOT NULL
    )""",
    "CREATE INDEX loose_objects_due ON loose_objects (due_at)",
    # However an attachment goes, its object follows.
    """CREATE FUNCTION loosen_objects() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO loose_objects (object_key, due_at) SELECT object_key, now() FROM gone ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER attachments_gone AFTER DELETE ON attachments
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION loosen_objects()""",
    # However a message goes, be it deleted or past its room's retention, so do its attachments.
    """CREATE FUNCTION drop_attachments_of_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM attachments WHERE message_id = NEW.id;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER room_events_deleted AFTER UPDATE OF deleted_at ON room_events FOR EACH ROW
        WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL AND OLD.body ? 'attachments')
        EXECUTE FUNCTION drop_attachments_of_deleted()""",
    """CREATE FUNCTION drop_attachments_of_gone() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM attachments a USING gone g WHERE a.message_id = g.id AND g.body ? 'attachments';
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER room_events_gone AFTER DELETE ON room_events
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION drop_attachments_of_gone()""",
]

NOTIFICATIONS = [
    # partition is that of the user (the UUID modulo 256 is its last byte): its owner pushes what is not pushed yet.
    """CREATE TABLE notifications (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        partition integer NOT NULL GENERATED ALWAYS AS (get_byte(uuid_send(user_id), 15)) STORED,
        kind text NOT NULL,
        data jsonb NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        read_at timestamptz,
        pushed boolean NOT NULL DEFAULT false,
        CONSTRAINT notifications_kind_check CHECK (kind IN ('export_ready', 'order_paid', 'sale', 'refund',
            'transfer_completed', 'transfer_failed', 'comment', 'like', 'follow', 'mention', 'stream_started',
            'moderation', 'announcement'))
    ) WITH (fillfactor = 80)""",
    "CREATE INDEX notifications_user ON notifications (user_id, created_at DESC, id DESC)",
    "CREATE INDEX notifications_unread ON notifications (user_id, created_at DESC, id DESC) WHERE read_at IS NULL",
    "CREATE INDEX notifications_unpushed ON notifications (partition, created_at, id) WHERE NOT pushed",
    """CREATE TABLE notification_preferences (
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        kind text NOT NULL,
        enabled boolean NOT NULL,
        PRIMARY KEY (user_id, kind)
    )""",
    # Whatever writes a notification, in whichever transaction, wakes those who push it.
    """CREATE FUNCTION wake_notifiers() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM fresh) THEN
            PERFORM pg_notify('veza_notifications', '');
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER notifications_wake AFTER INSERT ON notifications
        REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION wake_notifiers()""",
]

PRESENCE = [
    # Who is shown as present, for the next owner of their partition. Of no worth after a crash of PostgreSQL.
    """CREATE UNLOGGED TABLE shown_presence (
        user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
        partition integer NOT NULL GENERATED ALWAYS AS (get_byte(uuid_send(user_id), 15)) STORED
    )""",
    "CREATE INDEX shown_presence_partition ON shown_presence (partition)",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0001_initial")]

    operations = [
        ops.AddField("Room", "first_seq", fields.BigIntField(db_default=1)),
        ops.AddField("Room", "retention_days", fields.IntField(null=True)),
        ops.RunSQL([*ROOMS, *MESSAGES, *SANCTIONS, *BLOCKS, *ATTACHMENTS, *NOTIFICATIONS, *PRESENCE]),
    ]
