-- An order with its items, its shares and its payment, all at once.
WITH placed AS (
    INSERT INTO orders (id, buyer_id, currency, total_cents, fee_cents, payment_method, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)
    RETURNING created_at, expires_at
), items AS (
    INSERT INTO order_items
        (id, order_id, position, product_id, seller_id, title, product_type, unit_cents, quantity, stock_taken)
    SELECT i.id, $1, i.position, i.product_id, i.seller_id, i.title, i.product_type, i.unit_cents, i.quantity,
           i.stock_taken
    FROM unnest($8::uuid[], $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::int[], $14::int[], $15::bool[])
        WITH ORDINALITY
        AS i (id, product_id, seller_id, title, product_type, unit_cents, quantity, stock_taken, position)
), shared AS (
    INSERT INTO order_shares (order_id, seller_id, amount_cents, fee_cents)
    SELECT $1, s.* FROM unnest($16::uuid[], $17::bigint[], $18::bigint[]) AS s
), asked AS (
    INSERT INTO payments (order_id, provider, payment_id) VALUES ($1, $19, $20)
)
SELECT created_at, expires_at FROM placed
