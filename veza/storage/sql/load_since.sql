-- Messages of streams $1 behind the seqs $2 that are not deleted, oldest first, at most $3 of each.
SELECT asked.stream_id, m.seq, m.id, m.sender_id, u.username, m.content, m.created_at, m.client_msg_id
FROM unnest($1::uuid[], $2::bigint[]) AS asked (stream_id, told)
CROSS JOIN LATERAL (
    SELECT seq, id, sender_id, content, created_at, client_msg_id FROM stream_messages
    WHERE stream_id = asked.stream_id AND seq > asked.told AND deleted_at IS NULL ORDER BY seq LIMIT $3
) m
JOIN users u ON u.id = m.sender_id
ORDER BY asked.stream_id, m.seq
