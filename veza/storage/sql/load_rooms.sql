SELECT r.id, r.type, r.name, r.deleted_at IS NOT NULL AS deleted,
       coalesce((SELECT e.seq FROM room_events e WHERE e.room_id = r.id ORDER BY e.seq DESC LIMIT 1), 0) AS head,
       m.user_ids, m.roles
FROM rooms r
LEFT JOIN LATERAL (
    SELECT array_agg(user_id) AS user_ids, array_agg(role) AS roles FROM room_members WHERE room_id = r.id
) m ON true
WHERE r.id = ANY ($1::uuid[])
