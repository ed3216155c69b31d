-- Create items with their first ledger row, and answer their ids.
--
-- Parameters: item_count, total_quantity bigint.

with request as materialized (
    select
        $1::bigint as item_count,
        $2::bigint as total_quantity
),

created_items as (
    insert into stockhold.items (id, bucket, name, metadata, total_quantity, created_at, updated_at)
    select id, stockhold.bucket(id), 'bench', '{}', request.total_quantity, clock_timestamp(), clock_timestamp()
    from request
    cross join generate_series(1, request.item_count) as number
    cross join lateral (select gen_random_uuid() as id where number > 0) as new_item
    returning *
),

recorded_creations as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select id, bucket, 1, null, 'CREATED', total_quantity, total_quantity, 0, 0, created_at
    from created_items
)

select id
from created_items
