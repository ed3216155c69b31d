-- Take units of a confirmed reservation back to the shelf.
--
-- Parameters: reservation_id uuid; quantity bigint, units; idempotency_key text, idempotency_fingerprint bytea; bucket
--             integer, of the reservation's id. Every return has a key: two of the same units are told apart by nothing else.
-- Locks:      a place in the item's queue; then the reservation's item by its id, then the reservation by its id alone, and
--             only when the snapshot shows no return under the key and units left to return.
-- Recheck:    `returned_reservation` compares with the locked version of the reservation. A second return under the key that
--             waited meets ledger_idempotency_key_unique, and is run again: it then finds the first one's row.
-- Outcomes:   no row when there is no such reservation; otherwise replayed, key_reused, returned, not_confirmed, or
--             exceeds_confirmed, with the state that stands. CONFIRMED is never left and units returned never sold again, so a
--             snapshot that shows too few is not stale; one that shows a hold was true when the call came.

with request as materialized (
    select
        $1::uuid as reservation_id,
        $2::bigint as quantity,
        $3::text as idempotency_key,
        $4::bytea as idempotency_fingerprint,
        $5::integer as bucket
),

seen_reservation as materialized (
    select reservations.*
    from request
    join stockhold.reservations on reservations.id = request.reservation_id
),

reading as materialized (
    select clock_timestamp() as clock
),

earlier_return as materialized (
    select ledger.reservation_id, ledger.idempotency_fingerprint
    from request
    join stockhold.ledger on ledger.idempotency_key = request.idempotency_key
),

queued_request as materialized (
    select
        seen_reservation.item_id,
        pg_advisory_xact_lock(hashtextextended(seen_reservation.item_id::text, 0)) as place
    from seen_reservation
    cross join request
    where seen_reservation.status = 'CONFIRMED'
    and seen_reservation.returned_quantity + request.quantity <= seen_reservation.confirmed_quantity
    and not exists (select from earlier_return)
),

-- The item comes first, always: every statement that changes a hold holds its item's lock.
locked_item as materialized (
    select items.*
    from stockhold.items
    where items.id = (select item_id from queued_request)
    for no key update
),

locked_reservation as materialized (
    select reservations.*
    from locked_item
    cross join stockhold.reservations
    where reservations.id = (select reservation_id from request)
    for no key update of reservations
),

decision as materialized (
    select
        locked_reservation.*,
        clock_timestamp() as clock
    from locked_reservation
),

returned_reservation as (
    update stockhold.reservations
    set returned_quantity = decision.returned_quantity + request.quantity
    from decision
    cross join request
    where reservations.id = decision.id
    and decision.returned_quantity + request.quantity <= decision.confirmed_quantity
    returning reservations.*
),

updated_item as (
    update stockhold.items
    set
        confirmed_quantity = locked_item.confirmed_quantity - request.quantity,
        version = locked_item.version + 1,
        updated_at = decision.clock
    from locked_item
    cross join returned_reservation
    cross join decision
    cross join request
    where items.id = locked_item.id
    returning items.*
),

recorded_transition as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at, idempotency_key, idempotency_fingerprint
    )
    select
        updated_item.id,
        updated_item.bucket,
        updated_item.version,
        returned_reservation.id,
        'RETURNED',
        request.quantity,
        updated_item.total_quantity,
        updated_item.held_quantity,
        updated_item.confirmed_quantity,
        updated_item.updated_at,
        request.idempotency_key,
        request.idempotency_fingerprint
    from updated_item
    cross join returned_reservation
    cross join request
)

select
    case
        when earlier_return.idempotency_fingerprint <> request.idempotency_fingerprint
            or earlier_return.reservation_id <> request.reservation_id then 'key_reused'
        when earlier_return.reservation_id is not null then 'replayed'
        when returned_reservation.id is not null then 'returned'
        when seen_reservation.status = 'CONFIRMED' then 'exceeds_confirmed'
        else 'not_confirmed'
    end as outcome,
    seen_reservation.id,
    seen_reservation.item_id,
    seen_reservation.basket_id,
    seen_reservation.customer_id,
    seen_reservation.quantity,
    seen_reservation.confirmed_quantity,
    coalesce(
        returned_reservation.returned_quantity, decision.returned_quantity, seen_reservation.returned_quantity
    ) as returned_quantity,
    case
        when seen_reservation.status = 'PENDING' and seen_reservation.expires_at <= reading.clock then 'EXPIRED'
        else seen_reservation.status
    end as status,
    seen_reservation.created_at,
    seen_reservation.expires_at,
    seen_reservation.confirmed_at,
    seen_reservation.cancelled_at,
    case
        when seen_reservation.status = 'PENDING' and seen_reservation.expires_at <= reading.clock
            then seen_reservation.expires_at
        else seen_reservation.expired_at
    end as expired_at
from request
cross join seen_reservation
cross join reading
left join earlier_return on true
left join decision on true
left join returned_reservation on true
where request.bucket = $5::integer
