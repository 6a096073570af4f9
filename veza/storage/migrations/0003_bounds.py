"""What bounds reads and tables: history past long runs of other events, old notifications, unsent files."""

from tortoise import migrations
from tortoise.migrations import operations as ops

MESSAGES = [
    # Of an event that is no message: the newest message before it, 0 when there is none. It is there at no cost for
    # messages, which an index of them would have.
    "ALTER TABLE room_events ADD COLUMN message_seq bigint",
    """UPDATE room_events e SET message_seq = b.message_seq
        FROM (SELECT room_id, seq, kind,
                     coalesce(max(seq) FILTER (WHERE kind = 'message') OVER (PARTITION BY room_id ORDER BY seq), 0)
                         AS message_seq
              FROM room_events) b
        WHERE b.kind <> 'message' AND e.room_id = b.room_id AND e.seq = b.seq""",
    """ALTER TABLE room_events
        ADD CONSTRAINT room_events_message_seq_check CHECK ((kind = 'message') = (message_seq IS NULL))""",
    # The first message after the event `after`, which is none. It is often near. Else, what is known of an event tells
    # whether there is one up to it: steps that double until there is, then halves.
    """CREATE FUNCTION next_message(room uuid, after bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
    DECLARE
        low bigint := after;  -- no message in (after, low]
        high bigint;          -- a message
        step bigint := 256;
        found_seq bigint;
        found_message bigint;
    BEGIN
        SELECT seq INTO high FROM (
            SELECT seq, message_seq FROM room_events WHERE room_id = room AND seq > after ORDER BY seq LIMIT 128
        ) near WHERE message_seq IS NULL ORDER BY seq LIMIT 1;
        IF high IS NOT NULL THEN
            RETURN high;
        END IF;
        LOOP
            SELECT seq, coalesce(message_seq, seq) INTO found_seq, high FROM room_events
            WHERE room_id = room AND seq <= low + step ORDER BY seq DESC LIMIT 1;
            EXIT WHEN high > after;
            IF found_seq < low + step THEN
                RETURN NULL;
            END IF;
            low := found_seq;
            step := step * 2;
        END LOOP;
        WHILE low + 1 < high LOOP
            SELECT seq, coalesce(message_seq, seq) INTO found_seq, found_message FROM room_events
            WHERE room_id = room AND seq <= (low + high) / 2 ORDER BY seq DESC LIMIT 1;
            IF found_message > after THEN
                high := found_message;
            ELSE
                low := found_seq;
            END IF;
        END LOOP;
        RETURN high;
    END $$""",
]

NOTIFICATIONS = [
    "CREATE INDEX notifications_old_read ON notifications (read_at) WHERE read_at IS NOT NULL",
    # By the day: an index by the moment would tempt the planner to serve a person's page from it.
    """CREATE INDEX notifications_old_unread ON notifications (((created_at AT TIME ZONE 'UTC')::date))
        WHERE read_at IS NULL""",
]

ATTACHMENTS = [
    # What of a user's waits to be sent, without the rows themselves.
    "CREATE INDEX attachments_unsent ON attachments (user_id) INCLUDE (size_bytes) WHERE message_id IS NULL",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0002_messages")]

    operations = [ops.RunSQL([*MESSAGES, *NOTIFICATIONS, *ATTACHMENTS])]
