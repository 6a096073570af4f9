SELECT id, username, email, role, display_name, bio, avatar_url, do_not_sell, created_at,
       password_hash, banned_at IS NOT NULL AS banned
FROM users
WHERE lower(email) = lower($1) AND deleted_at IS NULL
