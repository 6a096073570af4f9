-- What sellers owe us, by currency: what the ledger says of them, when all is sent and taken back that is under way.
SELECT seller_id, currency, sum(cents)::bigint AS cents
FROM (
    SELECT seller_id, currency, cents FROM ledger_closings WHERE seller_id = ANY ($1::uuid[])
    UNION ALL
    SELECT e.seller_id, e.currency, e.amount_cents
    FROM ledger_entries e LEFT JOIN ledger_closings c ON c.seller_id = e.seller_id AND c.currency = e.currency
    WHERE e.seller_id = ANY ($1::uuid[]) AND e.movement_id > coalesce(c.movement_id, 0)
    UNION ALL
    SELECT seller_id, currency,
           CASE WHEN sent_at IS NULL THEN amount_cents - returned_cents - noted_cents
                ELSE sent_cents - least(sent_cents, noted_cents) END
    FROM transfers
    WHERE seller_id = ANY ($1::uuid[]) AND status IN ('pending', 'processing', 'failed', 'dead')
    UNION ALL
    SELECT r.seller_id, t.currency, -r.amount_cents
    FROM reversals r JOIN transfers t ON t.id = r.transfer_id
    WHERE r.seller_id = ANY ($1::uuid[]) AND r.status = 'pending'
) parts
GROUP BY seller_id, currency
HAVING sum(cents) > 0
