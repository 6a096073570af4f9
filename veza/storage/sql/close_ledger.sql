-- Sellers' balances up to the last movement that is an hour old: whatever is below it has been committed by now. All
-- sellers are closed at once, so what lies below the last closing of any of them is closed for everybody.
WITH until AS (
    SELECT max(id) AS movement_id FROM ledger_movements WHERE created_at < now() - interval '1 hour'
), grown AS (
    SELECT e.seller_id, e.currency, sum(e.amount_cents)::bigint AS cents
    FROM until JOIN ledger_entries e ON e.movement_id <= until.movement_id
    WHERE e.seller_id IS NOT NULL
      AND e.movement_id > (SELECT coalesce(max(movement_id), 0) FROM ledger_closings)
    GROUP BY e.seller_id, e.currency
)
INSERT INTO ledger_closings AS c (seller_id, currency, movement_id, cents)
SELECT grown.seller_id, grown.currency, until.movement_id, grown.cents FROM grown CROSS JOIN until
ON CONFLICT (seller_id, currency) DO UPDATE
SET movement_id = excluded.movement_id, cents = c.cents + excluded.cents
