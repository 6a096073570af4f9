-- What a shard must know of streams $1 beside what is shown of them; of each, the last $2 messages that are not deleted.
SELECT s.id, s.source_id, s.ingest, h.head, r.*, m.moderators, x.*
FROM streams s
CROSS JOIN LATERAL (
    SELECT coalesce(max(seq), 0) AS head FROM stream_messages WHERE stream_id = s.id
) h
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(l.seq ORDER BY l.seq), '{}') AS seqs,
           coalesce(array_agg(l.id ORDER BY l.seq), '{}') AS message_ids,
           coalesce(array_agg(l.sender_id ORDER BY l.seq), '{}') AS sender_ids,
           coalesce(array_agg(u.username ORDER BY l.seq), '{}') AS sender_names,
           coalesce(array_agg(l.content ORDER BY l.seq), '{}') AS contents,
           coalesce(array_agg(l.created_at ORDER BY l.seq), '{}') AS times,
           coalesce(array_agg(l.client_msg_id ORDER BY l.seq), '{}') AS client_msg_ids
    FROM (
        SELECT seq, id, sender_id, content, created_at, client_msg_id FROM stream_messages
        WHERE stream_id = s.id AND deleted_at IS NULL ORDER BY seq DESC LIMIT $2
    ) l
    JOIN users u ON u.id = l.sender_id
) r
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(user_id), '{}') AS moderators FROM stream_moderators WHERE stream_id = s.id
) m
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(user_id), '{}') AS sanctioned, coalesce(array_agg(action), '{}') AS actions,
           coalesce(array_agg(until), '{}') AS untils
    FROM stream_sanctions
    WHERE stream_id = s.id AND lifted_at IS NULL AND (until IS NULL OR until > now())
) x
WHERE s.id = ANY ($1::uuid[])
