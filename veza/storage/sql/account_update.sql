-- Null leaves a column as it is; $6 says that the avatar is to be set, to null too.
UPDATE users
SET username = coalesce($2, username),
    display_name = coalesce($3, display_name),
    bio = coalesce($4, bio),
    avatar_url = CASE WHEN $6 THEN $5 ELSE avatar_url END
WHERE id = $1 AND deleted_at IS NULL
RETURNING id, username, email, role, display_name, bio, avatar_url, do_not_sell, created_at
