SELECT session_id, used_at IS NOT NULL AS used, expires_at <= now() AS expired
FROM refresh_tokens
WHERE token_hash = $1
