INSERT INTO audit_log (id, user_id, action, resource, ip, user_agent, status, request_id, created_at, details)
SELECT *
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[],
            $9::timestamptz[], $10::jsonb[])
ON CONFLICT DO NOTHING
