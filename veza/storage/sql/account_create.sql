INSERT INTO users (id, username, email, password_hash, role)
VALUES ($1, $2, $3, $4, $5)
RETURNING id, username, email, role, display_name, bio, avatar_url, do_not_sell, created_at
