-- Streams $1 in the order of the ids.
SELECT s.id, s.user_id, u.username, s.title, s.description, s.category, s.tags, s.status, s.is_live, s.is_private,
       s.is_recorded, s.slow_mode_seconds, s.playback_id, s.viewer_count, s.peak_viewers, s.message_count,
       s.reaction_count, s.scheduled_at, s.started_at, s.interrupted_at, s.ended_at,
       floor(extract(epoch FROM coalesce(s.ended_at, now()) - s.started_at))::bigint AS duration_s,
       s.created_at, s.updated_at
FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
JOIN streams s ON s.id = wanted.id
JOIN users u ON u.id = s.user_id
ORDER BY wanted.place
