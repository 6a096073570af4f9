-- A second ban keeps the time of the first, and its reason unless it has one of its own.
UPDATE users
SET banned_at = CASE WHEN $2 THEN coalesce(banned_at, now()) END,
    ban_reason = CASE WHEN $2 THEN coalesce($3, ban_reason) END
WHERE id = $1 AND deleted_at IS NULL
RETURNING id
