-- Like commit_messages, for a batch that also changes rooms: members and rooms follow from the stored events in the
-- same statement. At most one such event a room is in a batch, since a statement can touch a row only once.
WITH own AS (
    SELECT p.partition
    FROM partition_owner p
    JOIN unnest($1::int[], $2::bigint[]) AS mine (partition, epoch) USING (partition, epoch)
    ORDER BY p.partition
    FOR SHARE OF p
), stored AS (
    INSERT INTO room_events (room_id, seq, id, kind, sender_id, client_msg_id, body, created_at)
    SELECT e.room_id, e.seq, e.id, e.kind, e.sender_id, e.client_msg_id, e.body, e.created_at
    FROM unnest($3::int[], $4::uuid[], $5::bigint[], $6::uuid[], $7::text[], $8::uuid[], $9::text[], $10::jsonb[],
                $11::timestamptz[])
        AS e (partition, room_id, seq, id, kind, sender_id, client_msg_id, body, created_at)
    JOIN own USING (partition)
    RETURNING room_id, seq, kind, body, created_at
), joined AS (
    INSERT INTO room_members (room_id, user_id, role, last_read_seq, joined_at)
    SELECT room_id, (body ->> 'user_id')::uuid, body ->> 'role', seq, created_at
    FROM stored WHERE kind = 'member_joined'
), gone AS (
    DELETE FROM room_members m USING stored s
    WHERE s.kind = 'member_left' AND m.room_id = s.room_id AND m.user_id = (s.body ->> 'user_id')::uuid
), renamed AS (
    UPDATE rooms r SET name = s.body ->> 'name' FROM stored s WHERE s.kind = 'room_updated' AND r.id = s.room_id
), deleted AS (
    UPDATE rooms r SET deleted_at = s.created_at, direct_key = NULL
    FROM stored s WHERE s.kind = 'room_deleted' AND r.id = s.room_id
)
SELECT partition FROM own
