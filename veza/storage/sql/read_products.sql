-- Products $1 that are not deleted, in the order of the ids.
SELECT p.id, p.seller_id, u.username AS seller_name, p.title, p.description, p.price_cents, p.currency, p.product_type,
       p.file_id, f.name AS file_name, f.size_bytes AS file_size_bytes, f.mime_type AS file_mime_type,
       p.stock, p.status, p.cover_object_key IS NOT NULL AS has_cover,
       p.sold_count, p.rating_average, p.rating_count, p.created_at, p.updated_at, p.published_at
FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
JOIN products p ON p.id = wanted.id AND p.deleted_at IS NULL
JOIN users u ON u.id = p.seller_id
LEFT JOIN product_files f ON f.id = p.file_id
ORDER BY wanted.place
