-- Events of a room after $2, oldest first, with the people they tell of.
SELECT e.room_id, e.seq, e.id, e.kind, e.client_msg_id, e.body, e.created_at,
       e.edited_at, e.deleted_at,
       CASE WHEN e.kind = 'message_edited' THEN
           (SELECT m.body FROM room_events m WHERE m.id = (e.body ->> 'message_id')::uuid) END AS present,
       e.sender_id, s.username AS sender_name, u.id AS subject_id, u.username AS subject_name
FROM room_events e
LEFT JOIN users s ON s.id = e.sender_id
LEFT JOIN users u ON e.kind IN ('member_joined', 'member_left', 'room_updated')
    AND u.id = coalesce(e.body ->> 'user_id', e.body -> 'member' ->> 'user_id')::uuid
WHERE e.room_id = $1 AND e.seq > $2
ORDER BY e.seq
LIMIT $3
