-- Read one reservation; a lapsed hold reads EXPIRED, recorded or not.
--
-- Parameters: reservation_id uuid; bucket integer, of its id.
-- Locks:      none.
-- Recheck:    none. The clock is read once, after the snapshot.
-- Outcomes:   one row, or none when there is no such reservation.

with request as materialized (
    select
        $1::uuid as reservation_id,
        $2::integer as bucket
),

reservation as materialized (
    select
        reservations.*,
        reservations.status = 'PENDING' and reservations.expires_at <= clock_timestamp() as lapsed
    from request
    join stockhold.reservations on reservations.id = request.reservation_id
)

select
    id,
    item_id,
    basket_id,
    customer_id,
    quantity,
    confirmed_quantity,
    returned_quantity,
    case when lapsed then 'EXPIRED' else status end as status,
    created_at,
    expires_at,
    confirmed_at,
    cancelled_at,
    case when lapsed then expires_at else expired_at end as expired_at
from request
cross join reservation
where request.bucket = $2::integer
