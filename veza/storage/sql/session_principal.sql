SELECT s.user_id, u.username, u.role, u.banned_at IS NOT NULL AS banned,
       s.revoked_at IS NOT NULL OR s.expires_at <= now() OR u.deleted_at IS NOT NULL AS ended,
       s.expires_at, s.last_seen_at
FROM sessions AS s
JOIN users AS u ON u.id = s.user_id
WHERE s.id = $1
