-- Like commit_messages, for a batch that also changes rows beside the log: members, rooms, messages, sanctions,
-- attachments and notifications follow from the stored events in the same statement. A statement can touch a row only
-- once, and not one that it inserts itself: batches are made so (realtime/claims.py). What an event needs for that and
-- does not keep is in `effects` (realtime/events.Effects).
WITH own AS (
    SELECT p.partition
    FROM partition_owner p
    JOIN unnest($1::int[], $2::bigint[]) AS mine (partition, epoch) USING (partition, epoch)
    ORDER BY p.partition
    FOR SHARE OF p
), e AS (
    SELECT *
    FROM unnest($3::int[], $4::uuid[], $5::bigint[], $6::uuid[], $7::text[], $8::uuid[], $9::text[], $10::jsonb[],
                $11::timestamptz[], $12::bigint[], $13::jsonb[])
        AS e (partition, room_id, seq, id, kind, sender_id, client_msg_id, body, created_at, message_seq, effects)
), stored AS (
    INSERT INTO room_events (room_id, seq, id, kind, sender_id, client_msg_id, body, created_at, message_seq)
    SELECT e.room_id, e.seq, e.id, e.kind, e.sender_id, e.client_msg_id, e.body, e.created_at, e.message_seq
    FROM e JOIN own USING (partition)
    RETURNING id
), s AS (
    SELECT e.*, (e.body ->> 'message_id')::uuid AS message_id, (e.body ->> 'user_id')::uuid AS user_id
    FROM e JOIN stored USING (id)
), joined AS (
    INSERT INTO room_members (room_id, user_id, role, last_read_seq, joined_at)
    SELECT s.room_id, s.user_id, s.body ->> 'role', s.seq, s.created_at
    FROM s JOIN users u ON u.id = s.user_id
    WHERE s.kind = 'member_joined'
), gone AS (
    DELETE FROM room_members m USING s
    WHERE s.kind = 'member_left' AND m.room_id = s.room_id AND m.user_id = s.user_id
), placed AS (
    UPDATE room_members m SET role = s.body -> 'member' ->> 'role'
    FROM s
    WHERE s.kind = 'room_updated' AND m.room_id = s.room_id AND m.user_id = (s.body -> 'member' ->> 'user_id')::uuid
), settings AS (
    UPDATE rooms r SET name = s.body ->> 'name', retention_days = (s.body ->> 'retention_days')::int
    FROM s WHERE s.kind = 'room_updated' AND s.effects IS NULL AND NOT s.body ? 'member' AND r.id = s.room_id
), ended AS (
    UPDATE rooms r SET deleted_at = s.created_at, direct_key = NULL
    FROM s WHERE s.kind = 'room_deleted' AND r.id = s.room_id
), edited AS (
    UPDATE room_events m
    SET body = (m.body - 'mentions') || jsonb_build_object('content', s.effects ->> 'content') ||
            CASE WHEN s.effects ? 'mentions' THEN jsonb_build_object('mentions', s.effects -> 'mentions') ELSE '{}' END,
        edited_at = s.created_at
    FROM s WHERE s.kind = 'message_edited' AND m.id = s.message_id AND m.room_id = s.room_id
), deleted AS (
    UPDATE room_events m
    SET body = CASE WHEN m.body ? 'parent_id' THEN jsonb_build_object('parent_id', m.body -> 'parent_id') ELSE '{}' END,
        deleted_at = s.created_at, pinned_at = NULL
    FROM s WHERE s.kind = 'message_deleted' AND m.id = s.message_id AND m.room_id = s.room_id
), forgotten AS (
    DELETE FROM message_reactions r USING s WHERE s.kind = 'message_deleted' AND r.message_id = s.message_id
), pinned AS (
    UPDATE room_events m SET pinned_at = CASE s.kind WHEN 'message_pinned' THEN s.created_at END
    FROM s
    WHERE s.kind IN ('message_pinned', 'message_unpinned') AND m.id = s.message_id AND m.room_id = s.room_id
), reacted AS (
    INSERT INTO message_reactions (room_id, message_id, user_id, emoji, created_at)
    SELECT s.room_id, s.message_id, s.sender_id, s.body ->> 'emoji', s.created_at
    FROM s
    JOIN room_events m ON m.id = s.message_id AND m.room_id = s.room_id
    JOIN users u ON u.id = s.sender_id
    WHERE s.kind = 'reaction_added'
    ON CONFLICT DO NOTHING
), taken_back AS (
    DELETE FROM message_reactions r USING s
    WHERE s.kind = 'reaction_removed' AND r.message_id = s.message_id AND r.user_id = s.sender_id
      AND r.emoji = s.body ->> 'emoji'
), sanctioned AS (
    INSERT INTO room_sanctions (id, room_id, user_id, action, reason, by_id, until, created_at)
    SELECT x.id, s.room_id, x.user_id, x.action, x.reason, x.by_id, x.until, s.created_at
    FROM s
    CROSS JOIN jsonb_to_recordset(s.effects -> 'sanctions')
        AS x (id uuid, user_id uuid, action text, reason text, by_id uuid, until timestamptz)
    JOIN users u ON u.id = x.user_id
), lifted AS (
    UPDATE room_sanctions x SET lifted_at = s.created_at
    FROM s
    WHERE s.effects ? 'lift' AND x.room_id = s.room_id AND x.user_id = (s.effects -> 'lift' ->> 'user_id')::uuid
      AND x.action = s.effects -> 'lift' ->> 'action' AND x.lifted_at IS NULL
), attached AS (
    UPDATE attachments a SET message_id = s.id
    FROM s CROSS JOIN jsonb_array_elements_text(s.effects -> 'attachments') AS x (id)
    WHERE a.id = x.id::uuid
), notified AS (
    -- Nobody hears of someone whom they have blocked, nor of what they switched off.
    INSERT INTO notifications (id, user_id, kind, data, created_at)
    SELECT x.id, x.user_id, x.kind, x.data, s.created_at
    FROM s
    CROSS JOIN jsonb_to_recordset(s.effects -> 'notify') AS x (id uuid, user_id uuid, kind text, data jsonb)
    JOIN users u ON u.id = x.user_id
    WHERE NOT EXISTS (
            SELECT FROM notification_preferences p WHERE p.user_id = x.user_id AND p.kind = x.kind AND NOT p.enabled)
      AND (x.kind = 'moderation'
           OR NOT EXISTS (SELECT FROM blocks b WHERE b.blocker_id = x.user_id AND b.blocked_id = s.sender_id))
    ON CONFLICT DO NOTHING
)
SELECT partition FROM own
