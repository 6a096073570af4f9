-- Messages of room $1 after seq $2, oldest first. Like read_messages_before, but a walk forward has to search for the
-- end of what it passes over: next_message() does.
WITH RECURSIVE recent AS MATERIALIZED (
    SELECT e.seq, e.message_seq FROM room_events e WHERE e.room_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT 4 * $3
), walk AS (
    SELECT max(r.seq) AS seq, false AS is_new FROM recent r
    UNION ALL
    SELECT CASE WHEN e.message_seq IS NULL THEN e.seq ELSE next_message($1, e.seq) END, true
    FROM walk w
    CROSS JOIN LATERAL (
        SELECT e.seq, e.message_seq FROM room_events e WHERE e.room_id = $1 AND e.seq > w.seq ORDER BY e.seq LIMIT 1
    ) e
), page AS MATERIALIZED (
    (SELECT r.seq FROM recent r WHERE r.message_seq IS NULL)
    UNION ALL
    (SELECT w.seq FROM walk w WHERE w.is_new AND w.seq IS NOT NULL)
    LIMIT $3
)
SELECT e.room_id, e.seq, e.id, e.kind, e.client_msg_id, e.body, e.created_at, e.edited_at, e.deleted_at,
       NULL::jsonb AS present, e.sender_id, s.username AS sender_name, NULL::uuid AS subject_id, NULL AS subject_name
FROM page
JOIN room_events e ON e.room_id = $1 AND e.seq = page.seq
LEFT JOIN users s ON s.id = e.sender_id
ORDER BY e.seq
