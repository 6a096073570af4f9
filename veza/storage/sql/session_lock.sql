-- Whoever exchanges or revokes tokens of a session holds its row, so that one after another decides.
SELECT s.id, s.user_id, s.revoked_at IS NOT NULL OR s.expires_at <= now() OR u.deleted_at IS NOT NULL AS ended,
       u.banned_at IS NOT NULL AS banned, u.username, u.email
FROM sessions AS s
JOIN users AS u ON u.id = s.user_id
WHERE s.id = $1
FOR UPDATE OF s
