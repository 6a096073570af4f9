-- Seconds until every key is free again, or null: the failure number $3, counted from the latest, must be older
-- than the window $2.
SELECT max(extract(epoch FROM nth.failed_at + $2::interval - now()))::float8
FROM unnest($1::text[]) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT failed_at
    FROM login_failures
    WHERE login_failures.key = wanted.key AND failed_at > now() - $2::interval
    ORDER BY failed_at DESC
    OFFSET $3::int - 1
    LIMIT 1
) AS nth
