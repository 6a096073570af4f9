-- Holds off a change of password or a ban until the session that relies on this row is committed.
SELECT true
FROM users
WHERE id = $1 AND password_hash = $2 AND banned_at IS NULL AND deleted_at IS NULL
FOR SHARE
