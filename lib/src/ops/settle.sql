-- Confirm or cancel one hold: deduct its units for good, or give them back. A lapsed hold is recorded as EXPIRED instead.
--
-- Parameters: reservation_id uuid; verb text, confirm or cancel; bucket integer, of the reservation's id.
-- Locks:      a place in the item's queue; then the hold's item by its id, then the hold by its id alone, and only while
--             the snapshot shows it PENDING. A state test inside a locking CTE would make a refusal look like an absence.
-- Recheck:    `decision` reads the locked version of the hold, and `reading` the clock after both waits; a hold that
--             ended or lapsed while this statement waited is seen as it is now.
-- Outcomes:   no row when there is no such reservation; otherwise confirmed, cancelled, expired, or already_<status> with
--             the state that stands. An ended reservation is never changed here, so a snapshot that shows one is not
--             stale.

with request as materialized (
    select
        $1::uuid as reservation_id,
        $2::text as verb,
        $3::integer as bucket
),

seen_reservation as materialized (
    select reservations.*
    from request
    join stockhold.reservations on reservations.id = request.reservation_id
),

queued_request as materialized (
    select
        seen_reservation.item_id,
        pg_advisory_xact_lock(hashtextextended(seen_reservation.item_id::text, 0)) as place
    from seen_reservation
    where seen_reservation.status = 'PENDING'
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

reading as materialized (
    select clock_timestamp() as clock
    from locked_reservation
),

decision as materialized (
    select
        locked_reservation.*,
        reading.clock,
        case
            when locked_reservation.expires_at <= reading.clock then 'EXPIRED'
            when request.verb = 'confirm' then 'CONFIRMED'
            when request.verb = 'cancel' then 'CANCELLED'
        end as next_status
    from locked_reservation
    cross join reading
    cross join request
),

ended_reservation as (
    update stockhold.reservations
    set
        status = decision.next_status,
        confirmed_quantity = case when decision.next_status = 'CONFIRMED' then decision.quantity else 0 end,
        confirmed_at = case when decision.next_status = 'CONFIRMED' then decision.clock end,
        cancelled_at = case when decision.next_status = 'CANCELLED' then decision.clock end,
        expired_at = case when decision.next_status = 'EXPIRED' then decision.expires_at end
    from decision
    where reservations.id = decision.id
    and decision.status = 'PENDING'
    returning reservations.*
),

updated_item as (
    update stockhold.items
    set
        held_quantity = locked_item.held_quantity - ended_reservation.quantity,
        confirmed_quantity = locked_item.confirmed_quantity
            + case when ended_reservation.status = 'CONFIRMED' then ended_reservation.quantity else 0 end,
        version = locked_item.version + 1,
        updated_at = decision.clock
    from locked_item
    cross join ended_reservation
    cross join decision
    where items.id = locked_item.id
    returning items.*
),

recorded_transition as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select
        updated_item.id,
        updated_item.bucket,
        updated_item.version,
        ended_reservation.id,
        ended_reservation.status,
        ended_reservation.quantity,
        updated_item.total_quantity,
        updated_item.held_quantity,
        updated_item.confirmed_quantity,
        updated_item.updated_at
    from updated_item
    cross join ended_reservation
)

-- The newest version known: what was written here, what was locked, what was seen.
select
    case
        when ended_reservation.id is not null then lower(ended_reservation.status)
        else 'already_' || lower(coalesce(decision.status, seen_reservation.status))
    end as outcome,
    seen_reservation.id,
    seen_reservation.item_id,
    seen_reservation.basket_id,
    seen_reservation.customer_id,
    seen_reservation.quantity,
    coalesce(
        ended_reservation.confirmed_quantity, decision.confirmed_quantity, seen_reservation.confirmed_quantity
    ) as confirmed_quantity,
    coalesce(decision.returned_quantity, seen_reservation.returned_quantity) as returned_quantity,
    coalesce(ended_reservation.status, decision.status, seen_reservation.status) as status,
    seen_reservation.created_at,
    coalesce(decision.expires_at, seen_reservation.expires_at) as expires_at,
    coalesce(ended_reservation.confirmed_at, decision.confirmed_at, seen_reservation.confirmed_at) as confirmed_at,
    coalesce(ended_reservation.cancelled_at, decision.cancelled_at, seen_reservation.cancelled_at) as cancelled_at,
    coalesce(ended_reservation.expired_at, decision.expired_at, seen_reservation.expired_at) as expired_at
from request
cross join seen_reservation
left join decision on true
left join ended_reservation on true
where request.bucket = $3::integer
