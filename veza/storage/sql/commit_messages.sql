-- The group commit of a shard: all messages of a batch, fenced by partition epoch, in one statement, so that a
-- paused process can never wake up between a check and an insert. Returns the partitions that are still owned;
-- rows of the others were not stored.
WITH own AS (
    SELECT p.partition
    FROM partition_owner p
    JOIN unnest($1::int[], $2::bigint[]) AS mine (partition, epoch) USING (partition, epoch)
    ORDER BY p.partition
    FOR SHARE OF p
), stored AS (
    INSERT INTO room_events (room_id, seq, id, kind, sender_id, client_msg_id, body, created_at)
    SELECT e.room_id, e.seq, e.id, e.kind, e.sender_id, e.client_msg_id, e.body, e.created_at
    FROM unnest($3::int[], $4::uuid[], $5::bigint[], $6::uuid[], $7::text[], $8::uuid[], $9::text[], $10::jsonb[],
                $11::timestamptz[])
        AS e (partition, room_id, seq, id, kind, sender_id, client_msg_id, body, created_at)
    JOIN own USING (partition)
)
SELECT partition FROM own
