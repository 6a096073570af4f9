-- Rooms of user $1, or the one room $2 of theirs, latest activity first, with last message and unread count.
-- Only the rooms of the page are looked into. Unread counts in the last 1000 events: a badge shows no more, and an old
-- room must not cost a scan of its log.
WITH page AS MATERIALIZED (
    SELECT r.id, r.type, r.name, r.owner_id, r.created_at, m.last_read_seq, m.role,
           coalesce(head.seq, r.first_seq - 1) AS last_seq, head.newest_message, r.first_seq, r.retention_days,
           coalesce(head.created_at, r.created_at) AS active_at, count(*) OVER () AS total
    FROM room_members m
    JOIN rooms r ON r.id = m.room_id AND r.deleted_at IS NULL
    LEFT JOIN LATERAL (
        SELECT e.seq, e.created_at, coalesce(e.message_seq, e.seq) AS newest_message
        FROM room_events e WHERE e.room_id = r.id ORDER BY e.seq DESC LIMIT 1
    ) head ON true
    WHERE m.user_id = $1 AND ($2::uuid IS NULL OR r.id = $2)
    ORDER BY coalesce(head.created_at, r.created_at) DESC, r.id
    LIMIT $3 OFFSET $4
)
SELECT p.*, unread.count AS unread_count,
       last.seq AS message_seq, last.id AS message_id, last.sender_id, sender.username AS sender_name,
       last.body AS message_body, last.client_msg_id, last.created_at AS message_at, last.edited_at AS message_edited_at,
       last.deleted_at AS message_deleted_at,
       other.id AS other_id, other.username AS other_name
FROM page p
LEFT JOIN room_events last ON last.room_id = p.id AND last.seq = p.newest_message
LEFT JOIN users sender ON sender.id = last.sender_id
LEFT JOIN LATERAL (
    SELECT count(*) FROM room_events e
    WHERE e.room_id = p.id AND e.seq > greatest(p.last_read_seq, p.last_seq - 1000)
      AND e.kind = 'message' AND e.deleted_at IS NULL AND e.sender_id <> $1
) unread ON true
LEFT JOIN LATERAL (
    SELECT u.id, u.username FROM room_members o JOIN users u ON u.id = o.user_id
    WHERE p.type = 'direct' AND o.room_id = p.id AND o.user_id <> $1
    LIMIT 1
) other ON true
ORDER BY p.active_at DESC, p.id
