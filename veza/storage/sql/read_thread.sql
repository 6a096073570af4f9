-- Replies to message $2 of room $1 after seq $3, oldest first.
SELECT e.room_id, e.seq, e.id, e.kind, e.client_msg_id, e.body, e.created_at, e.edited_at, e.deleted_at,
       NULL::jsonb AS present, e.sender_id, s.username AS sender_name, NULL::uuid AS subject_id, NULL AS subject_name
FROM room_events e
LEFT JOIN users s ON s.id = e.sender_id
WHERE e.room_id = $1 AND e.body ? 'parent_id' AND (e.body ->> 'parent_id')::uuid = $2 AND e.seq > $3
ORDER BY e.seq
LIMIT $4
