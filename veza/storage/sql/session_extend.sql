UPDATE sessions
SET expires_at = now() + $2::interval, last_seen_at = now()
WHERE id = $1
