-- Hold units of one item for one or several customers, first come first served: each call as if it came alone.
--
-- Parameters: item_id uuid; calls jsonb, in the order in which they came: reservation_id, customer_id, quantity,
--             ttl_seconds, idempotency_key, idempotency_fingerprint, each as `reserve` takes it. No two calls have the
--             same key. bucket integer, of the item's id.
-- Locks:      a place in the item's queue, then the item's row by its id, and only when the smallest call looks able to
--             succeed; then the lapsed holds it expires, which no statement changes without the item's lock.
-- Recheck:    `decision` reads the locked version of the item and the clock after the wait; `expired_holds` rechecks
--             status and deadline on the newest version of each hold; `admitted_calls` shares out what they leave.
-- Outcomes:   one row a call, in their order: key_reused, reserved, replayed, item_not_found, moved,
--             insufficient_availability. `moved`: refused, but the item changed since the snapshot, which may miss a hold
--             that has lapsed by now, or more holds have lapsed than one statement expires; the call is run again.

with recursive request as materialized (
    select
        $1::uuid as item_id,
        $2::jsonb as calls,
        $3::integer as bucket,
        200 as lapsed_hold_count_max
),

calls as materialized (
    select
        call.ordinality as position,
        call.*
    from request
    cross join lateral rows from (
        jsonb_to_recordset(request.calls) as (
            reservation_id uuid,
            customer_id text,
            quantity bigint,
            ttl_seconds double precision,
            idempotency_key text,
            idempotency_fingerprint bytea
        )
    ) with ordinality as call
),

-- An internal repeat comes under its own id, a caller's repeat under its key. The limit keeps it one look-up a call,
-- whatever the planner knows of the table's size.
earlier_reservations as materialized (
    select
        calls.position,
        earlier_reservation.*
    from calls
    cross join lateral (
        select reservations.*
        from stockhold.reservations
        where reservations.id = calls.reservation_id
        union all
        select reservations.*
        from stockhold.reservations
        where reservations.idempotency_key = calls.idempotency_key
        and reservations.id <> calls.reservation_id
        limit 1
    ) as earlier_reservation
),

open_calls as materialized (
    select
        row_number() over (order by calls.position) as turn,
        calls.*
    from calls
    where calls.position not in (select earlier_reservations.position from earlier_reservations)
),

demand as materialized (
    select
        count(*) as count,
        coalesce(sum(quantity), 0)::bigint as quantity,
        min(quantity) as smallest_quantity,
        array_agg(quantity order by turn) as quantities
    from open_calls
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

-- Looked for only when the calls need their units. Each holds a unit at least, so `quantity` of them are enough; the
-- maximum bounds the time the item stays locked.
lapsed_holds as materialized (
    select reservations.id, reservations.quantity
    from stockhold.reservations
    where reservations.item_id = (
        select seen_item.id
        from seen_item
        cross join demand
        where seen_item.free_quantity < demand.quantity
    )
    and reservations.status = 'PENDING'
    and reservations.expires_at <= (select clock from reading)
    order by reservations.expires_at, reservations.id
    limit (
        select least(demand.quantity, request.lapsed_hold_count_max)
        from demand
        cross join request
    )
),

lapsed_total as materialized (
    select
        coalesce(sum(quantity), 0)::bigint as quantity,
        count(*) as count
    from lapsed_holds
),

-- Repeats alone, an unknown item and a sold-out item end here, without a lock and without a write.
promising_request as materialized (
    select request.item_id
    from request
    cross join demand
    cross join seen_item
    cross join lapsed_total
    where demand.smallest_quantity <= seen_item.free_quantity + lapsed_total.quantity
    or (demand.count > 0 and lapsed_total.count = request.lapsed_hold_count_max)
),

queued_request as materialized (
    select
        promising_request.item_id,
        pg_advisory_xact_lock(hashtextextended(promising_request.item_id::text, 0)) as place
    from promising_request
),

locked_item as materialized (
    select items.*
    from stockhold.items
    where items.id = (select item_id from queued_request)
    for no key update
),

decision as materialized (
    select
        locked_item.*,
        locked_item.total_quantity - locked_item.held_quantity - locked_item.confirmed_quantity as free_quantity,
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

room as materialized (
    select decision.free_quantity + released.quantity as quantity
    from decision
    cross join released
),

-- A call too large is refused and a later smaller one may still fit, so each turn needs the outcome of the one before:
-- expensive, so it runs only when the requests exceed what is free. It ends where not even the smallest fits.
turns as (
    select
        0::bigint as turn,
        false as fits,
        room.quantity as free_quantity
    from room
    cross join demand
    where room.quantity < demand.quantity
    union all
    select
        turns.turn + 1,
        demand.quantities[turns.turn + 1] <= turns.free_quantity,
        turns.free_quantity
            - case
                when demand.quantities[turns.turn + 1] <= turns.free_quantity then demand.quantities[turns.turn + 1]
                else 0
            end
    from turns
    cross join demand
    where turns.turn < demand.count
    and turns.free_quantity >= demand.smallest_quantity
),

admitted_calls as materialized (
    select open_calls.*
    from open_calls
    cross join demand
    join room on room.quantity >= demand.quantity
    union all
    select open_calls.*
    from turns
    join open_calls on open_calls.turn = turns.turn
    where turns.fits
),

-- In the order of the keys, so that two batches with the same keys wait for each other in one direction.
reserved as (
    insert into stockhold.reservations (
        id, bucket, item_id, customer_id, quantity, created_at, expires_at, idempotency_key, idempotency_fingerprint
    )
    select
        admitted_calls.reservation_id,
        decision.bucket,
        decision.id,
        admitted_calls.customer_id,
        admitted_calls.quantity,
        decision.clock,
        decision.clock + make_interval(secs => admitted_calls.ttl_seconds),
        admitted_calls.idempotency_key,
        admitted_calls.idempotency_fingerprint
    from admitted_calls
    cross join decision
    order by admitted_calls.idempotency_key, admitted_calls.turn
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
    select
        released.count + row_number() over (order by admitted_calls.turn),
        admitted_calls.reservation_id,
        'RESERVED',
        admitted_calls.quantity,
        admitted_calls.quantity
    from admitted_calls
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
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select
        updated_item.id,
        decision.bucket,
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
        when earlier_reservations.idempotency_fingerprint is distinct from calls.idempotency_fingerprint
            and earlier_reservations.id is not null then 'key_reused'
        when earlier_reservations.id = calls.reservation_id then 'reserved'
        when earlier_reservations.id is not null then 'replayed'
        when seen_item.id is null then 'item_not_found'
        when reserved.id is not null then 'reserved'
        when decision.version <> seen_item.version or lapsed_total.count = request.lapsed_hold_count_max then 'moved'
        else 'insufficient_availability'
    end as outcome,
    coalesce(reserved.id, earlier_reservations.id) as id,
    coalesce(reserved.item_id, earlier_reservations.item_id) as item_id,
    coalesce(reserved.basket_id, earlier_reservations.basket_id) as basket_id,
    coalesce(reserved.customer_id, earlier_reservations.customer_id) as customer_id,
    coalesce(reserved.quantity, earlier_reservations.quantity) as quantity,
    coalesce(reserved.created_at, earlier_reservations.created_at) as created_at,
    coalesce(reserved.expires_at, earlier_reservations.expires_at) as expires_at,
    -- What the calls before it left.
    coalesce(
        room.quantity - coalesce(sum(reserved.quantity) over (order by calls.position), 0)::bigint,
        seen_item.free_quantity + lapsed_total.quantity
    ) as available_quantity
from request
cross join calls
cross join lapsed_total
cross join released
left join earlier_reservations on earlier_reservations.position = calls.position
left join seen_item on true
left join decision on true
left join room on true
left join reserved on reserved.id = calls.reservation_id
where request.bucket = $3::integer
order by calls.position
