SELECT id, device, ip, created_at, last_seen_at, expires_at, count(*) OVER () AS total
FROM sessions
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()
ORDER BY created_at DESC, id DESC
LIMIT $2 OFFSET $3
