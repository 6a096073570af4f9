-- Delete the oldest events of room $1 that were stored before $2, at most $3, and raise the room's lower bound. Only from
-- the beginning of the log, so that what is left has no gap. Returns how many those were.
-- The partition's row comes first, so that no commit is under way: it takes rows of the room in another order.
WITH fence AS MATERIALIZED (
    SELECT partition FROM partition_owner WHERE partition = get_byte(uuid_send($1::uuid), 15) FOR UPDATE
), room AS (
    SELECT r.id, r.first_seq FROM fence, rooms r WHERE r.id = $1 FOR NO KEY UPDATE OF r SKIP LOCKED
), oldest AS (
    SELECT e.seq, e.id, e.created_at
    FROM room JOIN room_events e ON e.room_id = room.id AND e.seq >= room.first_seq
    ORDER BY e.seq
    LIMIT $3
), bound AS (
    SELECT coalesce(min(seq) FILTER (WHERE created_at >= $2), max(seq) + 1) AS first_seq FROM oldest
), gone AS (
    DELETE FROM room_events e USING bound b WHERE e.room_id = $1 AND e.seq < b.first_seq RETURNING e.id
), reactions AS (
    DELETE FROM message_reactions r USING oldest o, bound b WHERE r.message_id = o.id AND o.seq < b.first_seq
), raised AS (
    UPDATE rooms r SET first_seq = b.first_seq FROM bound b WHERE r.id = $1 AND b.first_seq > r.first_seq
)
SELECT count(*) FROM gone
