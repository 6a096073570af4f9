UPDATE payout_lanes l
SET lease = l.lease + 1, lease_until = now() + $2::interval, leased_by = $3
FROM (
    SELECT seller_id FROM payout_lanes
    WHERE due_at <= now() AND (lease_until IS NULL OR lease_until < now())
    ORDER BY due_at LIMIT $1
    FOR UPDATE SKIP LOCKED
) due
WHERE l.seller_id = due.seller_id
RETURNING l.seller_id, l.lease
