SELECT r.id, r.name, r.created_at,
       (SELECT count(*) FROM room_members m WHERE m.room_id = r.id) AS member_count,
       EXISTS (SELECT FROM room_members m WHERE m.room_id = r.id AND m.user_id = $1) AS joined,
       count(*) OVER () AS total
FROM rooms r
WHERE r.type = 'public' AND r.deleted_at IS NULL AND ($2 = '' OR r.name ILIKE '%' || $2 || '%')
ORDER BY r.created_at DESC, r.id
LIMIT $3 OFFSET $4
