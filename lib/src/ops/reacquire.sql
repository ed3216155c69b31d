-- Confirm an expired reservation after all, when its units are free: a payment that landed late.
--
-- Parameters: reservation_id uuid; bucket integer, of its id.
-- Locks:      a place in the item's queue; then the reservation's item by its id, then the reservation
--             by its id alone, and only when the snapshot shows it EXPIRED and the item looks able to serve it; then
--             the lapsed holds it expires.
-- Recheck:    `decision` reads the locked versions of both and the clock after both waits; `expired_holds` rechecks
--             status and deadline on the newest version of each hold.
-- Outcomes:   no row when there is no such reservation; otherwise confirmed, moved, insufficient_availability, or
--             already_<status> with the state that stands. `moved` means what it means to `reserve_batch`.

with request as materialized (
    select
        $1::uuid as reservation_id,
        $2::integer as bucket,
        200 as lapsed_hold_count_max
),

seen_reservation as materialized (
    select reservations.*
    from request
    join stockhold.reservations on reservations.id = request.reservation_id
),

seen_item as materialized (
    select
        items.id,
        items.version,
        items.total_quantity - items.held_quantity - items.confirmed_quantity as free_quantity
    from seen_reservation
    join stockhold.items on items.id = seen_reservation.item_id
),

-- Read after the snapshot; a scalar subquery of it is a bound of the index scan, a volatile function is a filter.
reading as materialized (
    select clock_timestamp() as clock
),

-- Looked for only when the reservation needs their units. Each holds a unit at least, so `quantity` of them are enough.
lapsed_holds as materialized (
    select reservations.id, reservations.quantity
    from stockhold.reservations
    where reservations.item_id = (
        select seen_item.id
        from seen_item
        cross join seen_reservation
        where seen_item.free_quantity < seen_reservation.quantity
    )
    and reservations.status = 'PENDING'
    and reservations.expires_at <= (select clock from reading)
    order by reservations.expires_at, reservations.id
    limit (
        select least(seen_reservation.quantity, request.lapsed_hold_count_max)
        from seen_reservation
        cross join request
    )
),

lapsed_total as materialized (
    select
        coalesce(sum(quantity), 0)::bigint as quantity,
        count(*) as count
    from lapsed_holds
),

queued_request as materialized (
    select
        seen_item.id as item_id,
        pg_advisory_xact_lock(hashtextextended(seen_item.id::text, 0)) as place
    from request
    cross join seen_item
    cross join seen_reservation
    cross join lapsed_total
    where seen_reservation.status = 'EXPIRED'
    and (
        seen_reservation.quantity <= seen_item.free_quantity + lapsed_total.quantity
        or lapsed_total.count = request.lapsed_hold_count_max
    )
),

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
        locked_item.version as item_version,
        locked_item.held_quantity as item_held_quantity,
        locked_item.confirmed_quantity as item_confirmed_quantity,
        locked_item.total_quantity - locked_item.held_quantity - locked_item.confirmed_quantity as free_quantity,
        clock_timestamp() as clock
    from locked_reservation
    cross join locked_item
),

-- `status = 'PENDING'` would invite a plan that reads the index of all PENDING holds to find these few.
expired_holds as (
    update stockhold.reservations
    set
        status = 'EXPIRED',
        expired_at = reservations.expires_at
    from decision
    where reservations.id = any (array(select id from lapsed_holds))
    and reservations.status not in ('CONFIRMED', 'CANCELLED', 'EXPIRED')
    and reservations.expires_at <= decision.clock
    returning reservations.id, reservations.quantity, reservations.expires_at
),

released as materialized (
    select
        coalesce(sum(quantity), 0)::bigint as quantity,
        count(*) as count
    from expired_holds
),

reacquired as (
    update stockhold.reservations
    set
        status = 'CONFIRMED',
        confirmed_quantity = decision.quantity,
        confirmed_at = decision.clock
    from decision
    cross join released
    where reservations.id = decision.id
    and decision.status = 'EXPIRED'
    and decision.quantity <= decision.free_quantity + released.quantity
    returning reservations.*
),

transitions as materialized (
    select
        row_number() over (order by expires_at, id) as step,
        id as reservation_id,
        'EXPIRED' as kind,
        quantity,
        -quantity as held_change,
        0::bigint as confirmed_change
    from expired_holds
    union all
    select released.count + 1, reacquired.id, 'REACQUIRED', reacquired.quantity, 0, reacquired.quantity
    from reacquired
    cross join released
),

updated_item as (
    update stockhold.items
    set
        held_quantity = decision.item_held_quantity + change.held_change,
        confirmed_quantity = decision.item_confirmed_quantity + change.confirmed_change,
        version = decision.item_version + change.count,
        updated_at = decision.clock
    from decision
    cross join (
        select
            sum(held_change) as held_change,
            sum(confirmed_change) as confirmed_change,
            count(*) as count
        from transitions
    ) as change
    where items.id = decision.item_id
    and change.count > 0
    returning items.id, items.total_quantity
),

recorded_transitions as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select
        updated_item.id,
        decision.bucket,
        decision.item_version + transitions.step,
        transitions.reservation_id,
        transitions.kind,
        transitions.quantity,
        updated_item.total_quantity,
        decision.item_held_quantity + sum(transitions.held_change) over (order by transitions.step),
        decision.item_confirmed_quantity + sum(transitions.confirmed_change) over (order by transitions.step),
        decision.clock
    from transitions
    cross join updated_item
    cross join decision
)

select
    case
        when reacquired.id is not null then 'confirmed'
        when coalesce(decision.status, seen_reservation.status) <> 'EXPIRED'
            then 'already_' || lower(coalesce(decision.status, seen_reservation.status))
        when decision.item_version <> seen_item.version or lapsed_total.count = request.lapsed_hold_count_max then 'moved'
        else 'insufficient_availability'
    end as outcome,
    seen_reservation.id,
    seen_reservation.item_id,
    seen_reservation.basket_id,
    seen_reservation.customer_id,
    seen_reservation.quantity,
    coalesce(
        reacquired.confirmed_quantity, decision.confirmed_quantity, seen_reservation.confirmed_quantity
    ) as confirmed_quantity,
    coalesce(decision.returned_quantity, seen_reservation.returned_quantity) as returned_quantity,
    coalesce(reacquired.status, decision.status, seen_reservation.status) as status,
    seen_reservation.created_at,
    seen_reservation.expires_at,
    coalesce(reacquired.confirmed_at, decision.confirmed_at, seen_reservation.confirmed_at) as confirmed_at,
    coalesce(decision.cancelled_at, seen_reservation.cancelled_at) as cancelled_at,
    coalesce(decision.expired_at, seen_reservation.expired_at) as expired_at,
    coalesce(
        decision.free_quantity + released.quantity,
        seen_item.free_quantity + lapsed_total.quantity
    ) as available_quantity
from request
cross join seen_reservation
cross join seen_item
cross join lapsed_total
cross join released
left join decision on true
left join reacquired on true
where request.bucket = $2::integer
