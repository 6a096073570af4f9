UPDATE users
SET role = $2
WHERE id = $1 AND deleted_at IS NULL
RETURNING id, username, email, role, display_name, bio, avatar_url, do_not_sell, created_at
