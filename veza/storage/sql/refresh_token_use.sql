UPDATE refresh_tokens
SET used_at = now()
WHERE session_id = $1 AND used_at IS NULL
