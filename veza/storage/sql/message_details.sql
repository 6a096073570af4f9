-- What history shows with messages $1 for user $2: pinned, reactions in the order of their first, how many replies.
SELECT e.id, e.pinned_at IS NOT NULL AS pinned,
       (SELECT count(*) FROM room_events t
        WHERE t.body ? 'parent_id' AND (t.body ->> 'parent_id')::uuid = e.id AND t.deleted_at IS NULL) AS reply_count,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object('emoji', r.emoji, 'count', r.count, 'me', r.me) ORDER BY r.first, r.emoji)
           FROM (SELECT emoji, count(*) AS count, bool_or(user_id = $2) AS me, min(created_at) AS first
                 FROM message_reactions WHERE message_id = e.id GROUP BY emoji) r), '[]') AS reactions
FROM room_events e
WHERE e.id = ANY ($1::uuid[])
