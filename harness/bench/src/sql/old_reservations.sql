-- Write the books of items that were sold out long ago, one unit at a time: each reservation with the two ledger rows
-- that a real one leaves, every constraint satisfied.
--
-- Parameters: item_count, reservation_count bigint, of each item; first_number bigint, so that no id comes twice.

with request as materialized (
    select
        $1::bigint as item_count,
        $2::bigint as reservation_count,
        $3::bigint as first_number,
        clock_timestamp() - interval '2 days' as began_at
),

created_items as (
    insert into stockhold.items (
        id, bucket, name, metadata, total_quantity, confirmed_quantity, version, created_at, updated_at
    )
    select
        id, stockhold.bucket(id), 'old', '{}', request.reservation_count, request.reservation_count,
        1 + 2 * request.reservation_count, request.began_at, clock_timestamp()
    from request
    cross join generate_series(1, request.item_count) as number
    cross join lateral (select gen_random_uuid() as id where number > 0) as new_item
    returning *
),

numbered_items as materialized (
    select
        id,
        row_number() over () - 1 as number
    from created_items
),

-- Ids that ascend, as those of version 7 do: the index grows at its end.
old_reservations as materialized (
    select
        (
            lpad(to_hex(request.first_number + numbered_items.number * request.reservation_count + step), 12, '0')
            || '70008' || substr(md5(random()::text), 1, 11) || right(numbered_items.id::text, 4)
        )::uuid as id,
        numbered_items.id as item_id,
        step,
        request.began_at + step * interval '10 milliseconds' as created_at
    from request
    cross join numbered_items
    cross join generate_series(1, request.reservation_count) as step
),

reserved as (
    insert into stockhold.reservations (
        id, bucket, item_id, customer_id, quantity, confirmed_quantity, status, created_at, expires_at, confirmed_at
    )
    select
        id, stockhold.bucket(id), item_id, 'old', 1, 1, 'CONFIRMED',
        created_at, created_at + interval '10 minutes', created_at + interval '5 milliseconds'
    from old_reservations
),

recorded_creations as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select id, bucket, 1, null, 'CREATED', total_quantity, total_quantity, 0, 0, created_at
    from created_items
)

insert into stockhold.ledger (
    item_id, bucket, version, reservation_id, kind, quantity,
    total_quantity, held_quantity, confirmed_quantity, recorded_at
)
select
    item_id, stockhold.bucket(item_id), 2 * step + ended, id, (array['RESERVED', 'CONFIRMED'])[1 + ended], 1,
    request.reservation_count, 1 - ended, step - 1 + ended, created_at + ended * interval '5 milliseconds'
from request
cross join old_reservations
cross join generate_series(0, 1) as ended
