-- Messages of room $1 before seq $3 that match the query $2 (to_tsquery's language), newest first. `+ 0` keeps the planner
-- from walking the room's log backwards, which reads all of it when few messages match.
WITH found AS MATERIALIZED (
    SELECT e.seq
    FROM room_events e
    WHERE e.room_id = $1 AND e.kind = 'message' AND e.deleted_at IS NULL
      AND to_tsvector('veza', coalesce(e.body ->> 'content', '')) @@ to_tsquery('veza', $2)
      AND e.seq + 0 < $3
    ORDER BY e.seq + 0 DESC
    LIMIT $4
)
SELECT e.room_id, e.seq, e.id, e.kind, e.client_msg_id, e.body, e.created_at, e.edited_at, e.deleted_at,
       NULL::jsonb AS present, e.sender_id, s.username AS sender_name, NULL::uuid AS subject_id, NULL AS subject_name
FROM found
JOIN room_events e ON e.room_id = $1 AND e.seq = found.seq
LEFT JOIN users s ON s.id = e.sender_id
ORDER BY e.seq DESC
