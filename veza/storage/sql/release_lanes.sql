-- Sellers without an account that can be paid wait until there is one.
UPDATE payout_lanes l
SET lease_until = NULL, leased_by = NULL,
    due_at = least(
        (SELECT min(CASE t.status WHEN 'failed' THEN t.next_retry_at ELSE coalesce(t.next_retry_at, now()) END)
         FROM transfers t JOIN seller_accounts a ON a.seller_id = t.seller_id AND a.payouts_enabled
         WHERE t.seller_id = l.seller_id AND t.status IN ('pending', 'processing', 'failed')),
        (SELECT min(coalesce(r.next_retry_at, now())) FROM reversals r
         WHERE r.seller_id = l.seller_id AND r.status = 'pending'))
WHERE l.seller_id = ANY ($1::uuid[])
