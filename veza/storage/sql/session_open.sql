INSERT INTO sessions (id, user_id, device, ip, expires_at)
VALUES ($1, $2, $3, $4, now() + $5::interval)
