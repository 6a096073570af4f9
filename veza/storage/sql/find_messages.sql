-- Messages as commands on them need them: in rooms $1 those with ids $2, for each the user $3 whose reactions count.
SELECT e.room_id, e.id, e.seq, e.sender_id, e.created_at, e.deleted_at IS NOT NULL AS deleted,
       e.pinned_at IS NOT NULL AS pinned, w.user_id,
       ARRAY(SELECT r.emoji FROM message_reactions r WHERE r.message_id = e.id AND r.user_id = w.user_id) AS emoji
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS w (room_id, id, user_id)
JOIN room_events e ON e.id = w.id AND e.room_id = w.room_id AND e.kind = 'message'
