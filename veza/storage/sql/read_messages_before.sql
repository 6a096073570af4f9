-- Messages of room $1 before seq $2, newest first. Most rooms have as many among a few times as many events; where they
-- have not, the walk goes on from the last of these, and passes over events that are no messages by their message_seq:
-- a page reads at most two rows a message more, whatever lies between. Only what the page takes of either is read.
WITH RECURSIVE recent AS MATERIALIZED (
    SELECT e.seq, e.message_seq FROM room_events e WHERE e.room_id = $1 AND e.seq < $2 ORDER BY e.seq DESC LIMIT 4 * $3
), walk AS (
    (SELECT r.seq, r.message_seq, false AS is_new FROM recent r ORDER BY r.seq LIMIT 1)
    UNION ALL
    SELECT e.seq, e.message_seq, true
    FROM walk w
    CROSS JOIN LATERAL (
        SELECT e.seq, e.message_seq FROM room_events e
        WHERE e.room_id = $1 AND e.seq <= coalesce(w.message_seq, w.seq - 1)
        ORDER BY e.seq DESC
        LIMIT 1
    ) e
), page AS MATERIALIZED (
    (SELECT r.seq FROM recent r WHERE r.message_seq IS NULL)
    UNION ALL
    (SELECT w.seq FROM walk w WHERE w.is_new AND w.message_seq IS NULL)
    LIMIT $3
)
SELECT e.room_id, e.seq, e.id, e.kind, e.client_msg_id, e.body, e.created_at, e.edited_at, e.deleted_at,
       NULL::jsonb AS present, e.sender_id, s.username AS sender_name, NULL::uuid AS subject_id, NULL AS subject_name
FROM page
JOIN room_events e ON e.room_id = $1 AND e.seq = page.seq
LEFT JOIN users s ON s.id = e.sender_id
ORDER BY e.seq DESC
