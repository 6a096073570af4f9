-- What can be sent to these sellers now, in the order in which it was earned. What a processor left behind is due.
SELECT t.id, t.seller_id, t.order_id, t.currency, t.status, t.amount_cents, t.returned_cents, t.noted_cents, t.sent_cents,
       t.number, t.retry_count, t.answered, extract(epoch FROM t.sent_at)::float8 AS sent_at, coalesce(t.account_id, a.account_id) AS account_id,
       extract(epoch FROM now())::float8 AS now
FROM seller_accounts a
CROSS JOIN LATERAL (
    SELECT * FROM transfers
    WHERE seller_id = a.seller_id AND status IN ('pending', 'processing', 'failed')
      AND (status = 'processing' OR next_retry_at <= now() OR status = 'pending' AND next_retry_at IS NULL)
    ORDER BY created_at, id LIMIT $2
    FOR UPDATE
) t
WHERE a.seller_id = ANY ($1::uuid[]) AND a.payouts_enabled
ORDER BY t.created_at, t.id
