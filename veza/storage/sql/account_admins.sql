SELECT id
FROM users
WHERE role = 'admin' AND banned_at IS NULL AND deleted_at IS NULL
ORDER BY id
