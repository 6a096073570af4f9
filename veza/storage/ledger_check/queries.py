"""The checks of our own books, each a query for what is wrong: its rows are `subject` and `message`."""

# In the order in which a person would look: the ledger in itself, then what it should say.
QUERIES: dict[str, str] = {
    "movements are balanced": """
        SELECT m.id::text AS subject, m.kind || ' of ' || m.reference || ' sums to ' || coalesce(sum(e.amount_cents), 0)
               || ' over ' || count(e.*) || ' entries' AS message
        FROM ledger_movements m LEFT JOIN ledger_entries e ON e.movement_id = m.id
        GROUP BY m.id
        HAVING coalesce(sum(e.amount_cents), 0) <> 0 OR count(e.*) < 2
            OR count(*) FILTER (WHERE e.currency <> m.currency) > 0
        """,
    "currencies sum to zero": """
        SELECT currency AS subject, 'all entries sum to ' || sum(amount_cents) AS message
        FROM ledger_entries GROUP BY currency HAVING sum(amount_cents) <> 0
        """,
    "buyer clearing returns to zero": """
        WITH moved AS (
            SELECT coalesce(r.order_id, m.reference) AS order_id, sum(e.amount_cents) AS cents
            FROM ledger_entries e JOIN ledger_movements m ON m.id = e.movement_id
            LEFT JOIN refunds r ON r.id = m.reference
            WHERE e.account = 'buyer_clearing' GROUP BY 1
        )
        SELECT order_id::text AS subject, cents || ' lie in buyer clearing' AS message
        FROM moved WHERE cents <> -coalesce((
            SELECT sum(r.amount_cents) FROM refunds r
            WHERE r.order_id = moved.order_id AND r.kind = 'give_back' AND r.status = 'pending'), 0)
        """,
    "the refunds account returns to zero": """
        WITH moved AS (
            SELECT m.reference AS refund_id, sum(e.amount_cents) AS cents
            FROM ledger_entries e JOIN ledger_movements m ON m.id = e.movement_id
            WHERE e.account = 'refunds' GROUP BY 1
        )
        SELECT refund_id::text AS subject, cents || ' lie in the refunds account' AS message
        FROM moved LEFT JOIN refunds r ON r.id = moved.refund_id
        WHERE cents <> CASE WHEN r.status = 'pending' THEN -r.amount_cents ELSE 0 END
        """,
    "orders and their booking agree": """
        WITH booked AS (
            SELECT m.reference AS order_id,
                   sum(e.amount_cents) FILTER (WHERE m.kind = 'payment' AND e.account = 'provider') AS paid,
                   sum(e.amount_cents) FILTER (WHERE m.kind = 'sale' AND e.account = 'buyer_clearing') AS cleared,
                   -sum(e.amount_cents) FILTER (WHERE m.kind = 'sale' AND e.account = 'platform_fee') AS fee,
                   bool_or(m.kind = 'sale') AS sold
            FROM ledger_movements m JOIN ledger_entries e ON e.movement_id = m.id
            WHERE m.kind IN ('payment', 'sale') GROUP BY 1
        )
        SELECT coalesce(o.id, b.order_id)::text AS subject,
               coalesce(o.status, 'no order') || ' of ' || coalesce(o.total_cents, 0) || ' with a fee of '
               || coalesce(o.fee_cents, 0) || ', booked: paid ' || coalesce(b.paid, 0) || ', fee ' || coalesce(b.fee, 0)
               || CASE WHEN b.sold THEN ', sold' ELSE '' END AS message
        FROM orders o LEFT JOIN payments p ON p.order_id = o.id FULL JOIN booked b ON b.order_id = o.id
        WHERE o.id IS NULL
           OR coalesce(b.sold, false) <> (o.status IN ('paid', 'partially_refunded', 'refunded'))
           OR (b.paid IS NOT NULL) <> (p.status = 'succeeded')
           OR coalesce(b.paid, o.total_cents) <> o.total_cents
           OR b.sold AND (coalesce(b.cleared, 0) <> o.total_cents OR coalesce(b.fee, 0) <> o.fee_cents)
        """,
    "items and shares sum to their order": """
        SELECT o.id::text AS subject, 'total ' || o.total_cents || ', items ' || i.cents || ', shares ' || s.cents
               || ', fees ' || s.fees || ' of ' || o.fee_cents AS message
        FROM orders o
        CROSS JOIN LATERAL (SELECT coalesce(sum(unit_cents::bigint * quantity), 0) AS cents
                            FROM order_items WHERE order_id = o.id) i
        CROSS JOIN LATERAL (SELECT coalesce(sum(amount_cents), 0) AS cents, coalesce(sum(fee_cents), 0) AS fees
                            FROM order_shares WHERE order_id = o.id) s
        WHERE i.cents <> o.total_cents OR s.cents <> o.total_cents OR s.fees <> o.fee_cents
        """,
    "each seller was credited their share": """
        WITH credited AS (
            SELECT m.reference AS order_id, e.seller_id, -sum(e.amount_cents) AS cents
            FROM ledger_movements m JOIN ledger_entries e ON e.movement_id = m.id
            WHERE m.kind = 'sale' AND e.account = 'seller_payable' GROUP BY 1, 2
        ), sold AS (SELECT * FROM order_shares WHERE sold_at IS NOT NULL AND amount_cents > fee_cents)
        SELECT coalesce(s.order_id, c.order_id) || ' ' || coalesce(s.seller_id, c.seller_id) AS subject,
               'share ' || coalesce(s.amount_cents - s.fee_cents, 0) || ', credited ' || coalesce(c.cents, 0) AS message
        FROM sold s FULL JOIN credited c USING (order_id, seller_id)
        WHERE coalesce(s.amount_cents - s.fee_cents, 0) <> coalesce(c.cents, 0)
        """,
    "refunds and their booking agree": """
        WITH booked AS (
            SELECT reference, string_agg(kind, ' ' ORDER BY kind) AS kinds,
                   max((SELECT sum(abs(e.amount_cents)) / 2 FROM ledger_entries e WHERE e.movement_id = m.id)) AS cents
            FROM ledger_movements m
            WHERE kind IN ('give_back', 'refund_owed', 'refund_paid', 'refund_failed') GROUP BY 1
        )
        SELECT coalesce(r.id, b.reference)::text AS subject,
               coalesce(r.kind || ' ' || r.status || ' of ' || r.amount_cents, 'no refund') || ', booked '
               || coalesce(b.kinds || ' of ' || b.cents, 'nothing') AS message
        FROM refunds r FULL JOIN booked b ON b.reference = r.id
        WHERE coalesce(b.kinds, '') <> CASE
                  WHEN r.kind = 'give_back' AND r.status = 'succeeded' THEN 'give_back'
                  WHEN r.kind = 'give_back' THEN ''
                  WHEN r.status = 'pending' THEN 'refund_owed'
                  WHEN r.status = 'succeeded' THEN 'refund_owed refund_paid'
                  ELSE 'refund_failed refund_owed' END
           OR b.cents <> r.amount_cents OR r.id IS NULL
        """,
    "no more goes back than was charged": """
        SELECT o.id::text AS subject, 'status ' || o.status || ', returned ' || o.returned_cents || ' of '
               || o.total_cents || ', refunds ' || g.refunds || ', disputes ' || g.disputes AS message
        FROM orders o
        CROSS JOIN LATERAL (
            SELECT (SELECT coalesce(sum(amount_cents), 0) FROM refunds
                    WHERE order_id = o.id AND kind = 'refund' AND status <> 'failed') AS refunds,
                   (SELECT coalesce(sum(amount_cents), 0) FROM refunds
                    WHERE order_id = o.id AND kind = 'refund' AND status = 'succeeded') AS done,
                   (SELECT coalesce(sum(amount_cents), 0) FROM disputes
                    WHERE order_id = o.id AND status <> 'won') AS disputes
        ) g
        WHERE g.refunds > o.total_cents
           OR o.returned_cents <> least(o.total_cents, g.refunds + g.disputes)
           OR o.status IN ('paid', 'partially_refunded', 'refunded') AND o.status <> CASE
                  WHEN least(o.total_cents, g.done + g.disputes) = 0 THEN 'paid'
                  WHEN least(o.total_cents, g.done + g.disputes) = o.total_cents THEN 'refunded'
                  ELSE 'partially_refunded' END
        """,
    "every share sold has its transfer": """
        SELECT coalesce(s.order_id, t.order_id) || ' ' || coalesce(s.seller_id, t.seller_id) AS subject,
               'share ' || coalesce(s.amount_cents - s.fee_cents, 0) || ', transfer '
               || coalesce(t.amount_cents, 0) AS message
        FROM (SELECT * FROM order_shares WHERE sold_at IS NOT NULL AND amount_cents > fee_cents) s
        FULL JOIN (SELECT * FROM transfers WHERE cause_id = order_id) t
          ON t.order_id = s.order_id AND t.seller_id = s.seller_id
        WHERE coalesce(s.amount_cents - s.fee_cents, 0) <> coalesce(t.amount_cents, 0)
        """,
    "transfers and their booking agree": """
        WITH booked AS (
            SELECT m.reference, e.seller_id, m.currency, sum(e.amount_cents) AS cents
            FROM ledger_movements m JOIN ledger_entries e ON e.movement_id = m.id AND e.account = 'seller_payable'
            WHERE m.kind = 'transfer' GROUP BY 1, 2, 3
        ), sent AS (SELECT * FROM transfers WHERE completed_at IS NOT NULL AND sent_cents > 0)
        SELECT coalesce(t.id, b.reference)::text AS subject,
               'sent ' || coalesce(t.sent_cents, 0) || ', booked ' || coalesce(b.cents, 0) AS message
        FROM sent t FULL JOIN booked b ON b.reference = t.id
        WHERE coalesce(t.sent_cents, 0) <> coalesce(b.cents, 0)
           OR t.seller_id <> b.seller_id OR t.currency <> b.currency
        """,
    "reversals and their booking agree": """
        WITH booked AS (
            SELECT m.reference, -sum(e.amount_cents) AS cents
            FROM ledger_movements m JOIN ledger_entries e ON e.movement_id = m.id AND e.account = 'seller_payable'
            WHERE m.kind = 'reversal' GROUP BY 1
        ), made AS (SELECT * FROM reversals WHERE status = 'completed')
        SELECT coalesce(r.id, b.reference)::text AS subject,
               'reversed ' || coalesce(r.amount_cents, 0) || ', booked ' || coalesce(b.cents, 0) AS message
        FROM made r FULL JOIN booked b ON b.reference = r.id
        WHERE coalesce(r.amount_cents, 0) <> coalesce(b.cents, 0)
        UNION ALL
        SELECT t.id::text,
               'reversed ' || t.reversed_cents || ' in all, its reversals sum to ' || coalesce(sum(r.amount_cents), 0)
        FROM transfers t LEFT JOIN made r ON r.transfer_id = t.id
        GROUP BY t.id HAVING t.reversed_cents <> coalesce(sum(r.amount_cents), 0)
        """,
    "sellers are owed what is on its way to them": """
        SELECT seller_id || ' ' || currency AS subject,
               -sum(cents) || ' are owed, and no transfer is to bring them' AS message
        FROM (
            SELECT seller_id, currency, amount_cents AS cents FROM ledger_entries WHERE seller_id IS NOT NULL
            UNION ALL
            SELECT seller_id, currency,
                   CASE WHEN sent_at IS NULL THEN amount_cents - returned_cents - noted_cents
                        ELSE sent_cents - least(sent_cents, noted_cents) END
            FROM transfers WHERE status IN ('pending', 'processing', 'failed', 'dead')
            UNION ALL
            SELECT r.seller_id, t.currency, -r.amount_cents
            FROM reversals r JOIN transfers t ON t.id = r.transfer_id WHERE r.status = 'pending'
        ) parts
        GROUP BY seller_id, currency HAVING sum(cents) < 0
        """,
    "closed balances are the sums of what they close": """
        SELECT c.seller_id || ' ' || c.currency AS subject,
               c.cents || ' is closed, the entries sum to ' || coalesce(sum(e.amount_cents), 0) AS message
        FROM ledger_closings c
        LEFT JOIN ledger_entries e
          ON e.seller_id = c.seller_id AND e.currency = c.currency AND e.movement_id <= c.movement_id
        GROUP BY c.seller_id, c.currency HAVING c.cents <> coalesce(sum(e.amount_cents), 0)
        """,
    "invoices are without a gap": """
        SELECT n.year || '-' || lpad(g.number::text, 6, '0') AS subject, 'there is no such invoice' AS message
        FROM invoice_numbers n CROSS JOIN LATERAL generate_series(1, n.last) g (number)
        WHERE NOT EXISTS (SELECT FROM invoices v WHERE v.year = n.year AND v.number = g.number)
        UNION ALL
        SELECT v.year || '-' || lpad(v.number::text, 6, '0'), 'the year ends before it'
        FROM invoices v LEFT JOIN invoice_numbers n ON n.year = v.year WHERE v.number > coalesce(n.last, 0)
        UNION ALL
        SELECT o.id::text, 'the order was paid and has no invoice' FROM orders o
        WHERE o.paid_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM invoices v WHERE v.order_id = o.id AND v.refund_id IS NULL)
        UNION ALL
        SELECT r.id::text, 'the refund was made and has no credit note' FROM refunds r
        WHERE r.kind = 'refund' AND r.status = 'succeeded'
          AND NOT EXISTS (SELECT FROM invoices v WHERE v.refund_id = r.id)
        """,
    "nothing waits for a person": """
        SELECT p.payment_id AS subject, p.alert AS message FROM payments p WHERE p.alert IS NOT NULL
        UNION ALL
        SELECT w.event_id, 'the webhook failed: ' || coalesce(w.result, '') FROM webhooks w WHERE w.status = 'failed'
        UNION ALL
        SELECT r.id::text, 'money that bought nothing could not be given back: ' || coalesce(r.error, '')
        FROM refunds r WHERE r.kind = 'give_back' AND r.status = 'failed'
          AND NOT EXISTS (SELECT FROM refunds n WHERE n.order_id = r.order_id AND n.kind = 'give_back'
                          AND n.status <> 'failed')
        """,
}
