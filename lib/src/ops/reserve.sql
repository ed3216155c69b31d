-- Hold units of one item for a customer until a deadline.
--
-- Parameters: reservation_id, item_id uuid; customer_id text; quantity bigint, units; ttl_seconds double precision,
--             seconds from the decision; idempotency_key text, idempotency_fingerprint bytea (both null without a key).
-- Locks:      a place in the item's queue, then the item's row by its id, and only when the request looks able to
--             succeed; then the lapsed holds it expires, which nobody touches without the item's lock. A refusal of a
--             sold-out item locks nothing.
-- Recheck:    `decision` reads the locked version of the item and the clock after the wait; `expired_holds` rechecks
--             status and deadline on the newest version of each hold.
-- Outcomes:   replayed, key_reused, item_not_found, reserved, moved, insufficient_availability. `moved`: refused, but
--             the item changed since the snapshot, which may therefore miss a hold that has lapsed by now, or more
--             holds have lapsed than one statement expires. The caller runs the statement again.

with request as materialized (
    select
        $1::uuid as reservation_id,
        $2::uuid as item_id,
        $3::text as customer_id,
        $4::bigint as quantity,
        $5::double precision as ttl_seconds,
        $6::text as idempotency_key,
        $7::bytea as idempotency_fingerprint
),

-- An internal repeat comes under its own id, a caller's repeat under its key.
earlier_reservation as materialized (
    select reservations.*
    from request
    join stockhold.reservations on reservations.id = request.reservation_id
    union all
    select reservations.*
    from request
    join stockhold.reservations on reservations.idempotency_key = request.idempotency_key
    where reservations.id <> request.reservation_id
),

seen_item as materialized (
    select
        items.id,
        items.version,
        items.total_quantity - items.held_quantity - items.confirmed_quantity as free_quantity
    from request
    join stockhold.items on items.id = request.item_id
),

-- Read after the snapshot; a scalar subquery of it is a bound of the index scan, a volatile function is a filter.
reading as materialized (
    select clock_timestamp() as clock
),

-- Looked for only when the request needs their units. Each holds a unit at least, so `quantity` of them are enough;
-- 200 bound the time the item stays locked.
lapsed_holds as materialized (
    select reservations.id, reservations.quantity
    from stockhold.reservations
    where reservations.item_id = (
        select seen_item.id
        from seen_item
        cross join request
        where seen_item.free_quantity < request.quantity
    )
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

-- A repeat, an unknown item and a sold-out item end here, without a lock and without a write.
promising_request as materialized (
    select request.item_id
    from request
    cross join seen_item
    cross join lapsed_total
    where not exists (select from earlier_reservation)
    and (
        request.quantity <= seen_item.free_quantity + lapsed_total.quantity
        or lapsed_total.count = 200
    )
),

-- Who waits for a row walks all its versions since their snapshot, so a line at the row grows slower as it grows longer.
-- Calls line up here instead. It is a queue and never the guard: what follows is right without it.
queued_request as materialized (
    select
        promising_request.item_id,
        pg_advisory_xact_lock(hashtextextended(promising_request.item_id::text, 0)) as place
    from promising_request
),

locked_item as materialized (
    select
        items.id,
        items.version,
        items.held_quantity,
        items.total_quantity - items.held_quantity - items.confirmed_quantity as free_quantity
    from stockhold.items
    where items.id = (select item_id from queued_request)
    for no key update
),

decision as materialized (
    select
        locked_item.*,
        clock_timestamp() as clock
    from locked_item
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

reserved as (
    insert into stockhold.reservations (
        id, item_id, customer_id, quantity, created_at, expires_at, idempotency_key, idempotency_fingerprint
    )
    select
        request.reservation_id,
        request.item_id,
        request.customer_id,
        request.quantity,
        decision.clock,
        decision.clock + make_interval(secs => request.ttl_seconds),
        request.idempotency_key,
        request.idempotency_fingerprint
    from request
    cross join decision
    cross join released
    where request.quantity <= decision.free_quantity + released.quantity
    returning *
),

transitions as materialized (
    select
        row_number() over (order by expires_at, id) as step,
        id as reservation_id,
        'EXPIRED' as kind,
        quantity,
        -quantity as held_change
    from expired_holds
    union all
    select released.count + 1, reserved.id, 'RESERVED', reserved.quantity, reserved.quantity
    from reserved
    cross join released
),

updated_item as (
    update stockhold.items
    set
        held_quantity = decision.held_quantity + change.held_change,
        version = decision.version + change.count,
        updated_at = decision.clock
    from decision
    cross join (
        select
            sum(held_change) as held_change,
            count(*) as count
        from transitions
    ) as change
    where items.id = decision.id
    and change.count > 0
    returning items.id, items.total_quantity, items.confirmed_quantity
),

recorded_transitions as (
    insert into stockhold.ledger (
        item_id, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select
        updated_item.id,
        decision.version + transitions.step,
        transitions.reservation_id,
        transitions.kind,
        transitions.quantity,
        updated_item.total_quantity,
        decision.held_quantity + sum(transitions.held_change) over (order by transitions.step),
        updated_item.confirmed_quantity,
        decision.clock
    from transitions
    cross join updated_item
    cross join decision
)

select
    case
        when earlier_reservation.idempotency_fingerprint is distinct from request.idempotency_fingerprint
            and earlier_reservation.id is not null then 'key_reused'
        when earlier_reservation.id = request.reservation_id then 'reserved'
        when earlier_reservation.id is not null then 'replayed'
        when seen_item.id is null then 'item_not_found'
        when reserved.id is not null then 'reserved'
        when decision.version <> seen_item.version or released.count > 0 then 'moved'
        else 'insufficient_availability'
    end as outcome,
    coalesce(reserved.id, earlier_reservation.id) as id,
    coalesce(reserved.item_id, earlier_reservation.item_id) as item_id,
    coalesce(reserved.basket_id, earlier_reservation.basket_id) as basket_id,
    coalesce(reserved.customer_id, earlier_reservation.customer_id) as customer_id,
    coalesce(reserved.quantity, earlier_reservation.quantity) as quantity,
    coalesce(reserved.created_at, earlier_reservation.created_at) as created_at,
    coalesce(reserved.expires_at, earlier_reservation.expires_at) as expires_at,
    coalesce(
        decision.free_quantity + released.quantity,
        seen_item.free_quantity + lapsed_total.quantity
    ) as available_quantity
from request
cross join lapsed_total
cross join released
left join earlier_reservation on true
left join seen_item on true
left join decision on true
left join reserved on true
