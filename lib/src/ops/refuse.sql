-- Refuse a reservation of an item that is sold out, at the price of a read.
--
-- Parameters: item_id uuid; quantity bigint, units; idempotency_key text (null without a key).
-- Locks:      none, and no write.
-- Recheck:    none. The refusal is true of the snapshot: the counters and the lapsed holds come from it, and the clock
--             is read once, after it.
-- Outcomes:   one row with what is available when `reserve` would refuse; no row when it might not, for whatever reason.

with request as materialized (
    select
        $1::uuid as item_id,
        $2::bigint as quantity,
        $3::text as idempotency_key
),

reading as materialized (
    select clock_timestamp() as clock
),

-- As in `reserve`: so many lapsed holds are enough, or more than one statement expires.
lapsed_holds as materialized (
    select reservations.quantity
    from stockhold.reservations
    where reservations.item_id = (select item_id from request)
    and reservations.status = 'PENDING'
    and reservations.expires_at <= (select clock from reading)
    order by reservations.expires_at, reservations.id
    limit (select least(quantity, 200) from request)
),

lapsed_total as materialized (
    select
        coalesce(sum(quantity), 0)::bigint as quantity,
        count(*) as count
    from lapsed_holds
),

refused_request as materialized (
    select
        items.total_quantity - items.held_quantity - items.confirmed_quantity + lapsed_total.quantity
            as available_quantity
    from request
    join stockhold.items on items.id = request.item_id
    cross join lapsed_total
    where request.quantity
        > items.total_quantity - items.held_quantity - items.confirmed_quantity + lapsed_total.quantity
    and lapsed_total.count < 200
    and not exists (
        select
        from stockhold.reservations
        where reservations.idempotency_key = request.idempotency_key
    )
)

select available_quantity
from refused_request
