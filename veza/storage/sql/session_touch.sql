UPDATE sessions
SET last_seen_at = now()
WHERE id = $1 AND last_seen_at <= now() - $2::interval
