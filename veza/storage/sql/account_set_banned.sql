UPDATE users
SET banned_at = CASE WHEN $2 THEN coalesce(banned_at, now()) END
WHERE id = $1 AND deleted_at IS NULL
RETURNING id
