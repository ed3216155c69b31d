-- Read one item: what is sold, what is held now, what is left.
--
-- Parameters: item_id uuid; bucket integer, of its id.
-- Locks:      none.
-- Recheck:    none. The counters and the lapsed holds come from one snapshot, so their difference is never negative;
--             the clock is read once, after that snapshot (`now()` may be older than it).
-- Outcomes:   one row, or none when there is no such item.

with request as materialized (
    select
        $1::uuid as item_id,
        $2::integer as bucket
),

reading as materialized (
    select clock_timestamp() as clock
),

item as materialized (
    select items.*
    from request
    join stockhold.items on items.id = request.item_id
),

-- The clock is a scalar subquery, and so a bound of the index scan; a volatile function in its place is a filter.
lapsed_holds as materialized (
    select coalesce(sum(reservations.quantity), 0)::bigint as quantity
    from stockhold.reservations
    where reservations.item_id = (select item_id from request)
    and reservations.status = 'PENDING'
    and reservations.expires_at <= (select clock from reading)
)

select
    item.id,
    item.name,
    item.sku,
    item.metadata,
    item.total_quantity,
    item.held_quantity - lapsed_holds.quantity as held_quantity,
    item.confirmed_quantity,
    item.version,
    item.created_at,
    item.updated_at,
    reading.clock as as_of
from request
cross join item
cross join lapsed_holds
cross join reading
where request.bucket = $2::integer
