-- Which of these are stored already: by the id of the command or message, or by the client's own id.
SELECT e.room_id, e.sender_id, e.client_msg_id, e.id, e.seq, e.created_at, e.kind
FROM unnest($1::uuid[], $2::uuid[]) AS c (room_id, id)
JOIN room_events e ON e.id = c.id AND e.room_id = c.room_id
UNION ALL
SELECT e.room_id, e.sender_id, e.client_msg_id, e.id, e.seq, e.created_at, e.kind
FROM unnest($3::uuid[], $4::uuid[], $5::text[]) AS c (room_id, sender_id, client_msg_id)
JOIN room_events e USING (room_id, sender_id, client_msg_id)
