-- Write items all of whose units are in holds that have lapsed without anybody noting it, and answer the items' ids.
--
-- Parameters: item_count, hold_count bigint, of each item; first_number bigint, so that no id comes twice.

with request as materialized (
    select
        $1::bigint as item_count,
        $2::bigint as hold_count,
        $3::bigint as first_number,
        clock_timestamp() - interval '1 day' as began_at
),

created_items as (
    insert into stockhold.items (
        id, bucket, name, metadata, total_quantity, held_quantity, version, created_at, updated_at
    )
    select
        id, stockhold.bucket(id), 'lapsed', '{}', request.hold_count, request.hold_count,
        1 + request.hold_count, request.began_at, clock_timestamp()
    from request
    cross join generate_series(1, request.item_count) as number
    cross join lateral (select gen_random_uuid() as id where number > 0) as new_item
    returning *
),

numbered_items as materialized (
    select
        id,
        row_number() over () as number
    from created_items
),

-- The holds of all items lapsed side by side, so a sweep, which takes the oldest first, meets many items at once. Their
-- ids ascend with time, as those of version 7 do.
lapsed_holds as materialized (
    select
        (
            lpad(to_hex(request.first_number + step * request.item_count + numbered_items.number), 12, '0')
            || '70008' || substr(md5(random()::text), 1, 11) || right(numbered_items.id::text, 4)
        )::uuid as id,
        numbered_items.id as item_id,
        step,
        request.began_at + step * interval '10 milliseconds' as created_at
    from request
    cross join numbered_items
    cross join generate_series(1, request.hold_count) as step
    order by step, numbered_items.number
),

held as (
    insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
    select id, stockhold.bucket(id), item_id, 'lapsed', 1, created_at, created_at + interval '10 minutes'
    from lapsed_holds
),

recorded_creations as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select id, bucket, 1, null, 'CREATED', total_quantity, total_quantity, 0, 0, created_at
    from created_items
),

recorded_holds as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select item_id, stockhold.bucket(item_id), 1 + step, id, 'RESERVED', 1, request.hold_count, step, 0, created_at
    from request
    cross join lapsed_holds
)

select id
from created_items
