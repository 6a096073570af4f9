SELECT id, username, email, role, display_name, bio, avatar_url, do_not_sell, created_at, password_hash
FROM users
WHERE id = $1 AND deleted_at IS NULL
