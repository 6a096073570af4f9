-- Public rooms, newest first; $2 is an escaped part of the name, or empty.
WITH page AS MATERIALIZED (
    SELECT r.id, r.name, r.created_at, count(*) OVER () AS total
    FROM rooms r
    WHERE r.type = 'public' AND r.deleted_at IS NULL AND ($2 = '' OR r.name ILIKE '%' || $2 || '%')
    ORDER BY r.created_at DESC, r.id
    LIMIT $3 OFFSET $4
)
SELECT p.*,
       (SELECT count(*) FROM room_members m WHERE m.room_id = p.id) AS member_count,
       EXISTS (SELECT FROM room_members m WHERE m.room_id = p.id AND m.user_id = $1) AS joined
FROM page p
ORDER BY p.created_at DESC, p.id
