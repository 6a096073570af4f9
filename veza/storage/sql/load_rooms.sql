SELECT r.id, r.type, r.name, r.deleted_at IS NOT NULL AS deleted, r.retention_days,
       coalesce(h.seq, r.first_seq - 1) AS head, coalesce(h.message_seq, h.seq, 0) AS last_message,
       (SELECT count(*) FROM room_events e WHERE e.room_id = r.id AND e.pinned_at IS NOT NULL) AS pins,
       m.user_ids, m.roles, s.sanctioned, s.actions, s.untils,
       CASE WHEN r.type = 'direct' THEN ARRAY(
           SELECT b.blocked_id FROM blocks b
           WHERE b.blocker_id = ANY (m.user_ids) AND b.blocked_id = ANY (m.user_ids)) END AS blocked
FROM rooms r
LEFT JOIN LATERAL (
    SELECT e.seq, e.message_seq FROM room_events e WHERE e.room_id = r.id ORDER BY e.seq DESC LIMIT 1
) h ON true
LEFT JOIN LATERAL (
    SELECT array_agg(user_id) AS user_ids, array_agg(role) AS roles FROM room_members WHERE room_id = r.id
) m ON true
LEFT JOIN LATERAL (
    SELECT array_agg(user_id) AS sanctioned, array_agg(action) AS actions, array_agg(until) AS untils
    FROM room_sanctions
    WHERE room_id = r.id AND lifted_at IS NULL
      AND (action = 'warn' OR (action IN ('mute', 'ban') AND (until IS NULL OR until > now())))
) s ON true
WHERE r.id = ANY ($1::uuid[])
