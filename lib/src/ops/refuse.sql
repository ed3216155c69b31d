-- Refuse reservations of an item that is sold out, at the price of a read.
--
-- Parameters: item_id uuid; idempotency_keys jsonb, an array of the keys that the reservations have; bucket integer, of
--             the item's id.
-- Locks:      none, and no write.
-- Recheck:    none. The refusal is true of the snapshot: the counters and the lapsed holds come from it, and the clock
--             is read once, after it.
-- Outcomes:   one row with what is available, and which keys an earlier reservation has; `reserve` would refuse every
--             larger quantity under another key. No row when only a statement with the lock can decide.

with request as materialized (
    select
        $1::uuid as item_id,
        $2::jsonb as idempotency_keys,
        $3::integer as bucket,
        200 as lapsed_hold_count_max
),

reading as materialized (
    select clock_timestamp() as clock
),

-- As in `reserve_batch`: more than one statement expires are too many to add up here.
lapsed_holds as materialized (
    select reservations.quantity
    from stockhold.reservations
    where reservations.item_id = (select item_id from request)
    and reservations.status = 'PENDING'
    and reservations.expires_at <= (select clock from reading)
    order by reservations.expires_at, reservations.id
    limit (select lapsed_hold_count_max from request)
),

lapsed_total as materialized (
    select
        coalesce(sum(quantity), 0)::bigint as quantity,
        count(*) as count
    from lapsed_holds
),

known_keys as materialized (
    select known_key.idempotency_key
    from request
    cross join lateral jsonb_array_elements_text(request.idempotency_keys) as asked_key
    cross join lateral (
        select reservations.idempotency_key
        from stockhold.reservations
        where reservations.idempotency_key = asked_key
        limit 1
    ) as known_key
),

refusing_item as materialized (
    select
        items.total_quantity - items.held_quantity - items.confirmed_quantity + lapsed_total.quantity
            as available_quantity
    from request
    join stockhold.items on items.id = request.item_id
    cross join lapsed_total
    where lapsed_total.count < request.lapsed_hold_count_max
)

select
    refusing_item.available_quantity,
    array(select known_keys.idempotency_key from known_keys) as known_keys
from request
cross join refusing_item
where request.bucket = $3::integer
