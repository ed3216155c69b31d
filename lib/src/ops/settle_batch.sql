-- Confirm or cancel several holds, exactly as so many calls of `confirm` and `cancel` would, one after the other.
--
-- Parameters: calls jsonb, in the order in which they came: reservation_id uuid, verb text (confirm or cancel). The holds
--             may be of several items, and a hold may come more than once: its first call decides. bucket integer, of
--             every reservation's id.
-- Locks:      a place in the queue of each item, in the order of the places; then the items by ascending id, then the
--             holds by ascending id, each by its id alone, and only while the snapshot shows a hold PENDING. A state test
--             inside a locking CTE would make a refusal look like an absence.
-- Recheck:    `decisions` reads the locked version of each hold, and the clock after all the waits; a hold that ended or
--             lapsed while this statement waited is seen as it is now.
-- Outcomes:   one row a call, in their order: not_found, or as `confirm` and `cancel` answer it.

with request as materialized (
    select
        $1::jsonb as calls,
        $2::integer as bucket
),

calls as materialized (
    select
        call.ordinality as position,
        call.*
    from request
    cross join lateral rows from (
        jsonb_to_recordset(request.calls) as (reservation_id uuid, verb text)
    ) with ordinality as call
),

first_calls as materialized (
    select distinct on (calls.reservation_id) calls.*
    from calls
    order by calls.reservation_id, calls.position
),

-- The limit keeps it one look-up a call, whatever the planner knows of the table's size.
seen_reservations as materialized (
    select seen_reservation.*
    from first_calls
    cross join lateral (
        select reservations.*
        from stockhold.reservations
        where reservations.id = first_calls.reservation_id
        limit 1
    ) as seen_reservation
),

pending_holds as materialized (
    select seen_reservations.id, seen_reservations.item_id
    from seen_reservations
    where seen_reservations.status = 'PENDING'
),

queued_items as materialized (
    select
        places.item_id,
        pg_advisory_xact_lock(places.place) as place
    from (
        select distinct
            hashtextextended(pending_holds.item_id::text, 0) as place,
            pending_holds.item_id
        from pending_holds
        order by place
    ) as places
),

-- The items come first, always: every statement that changes a hold holds its item's lock.
locked_items as materialized (
    select items.*
    from stockhold.items
    where items.id = any (array(select item_id from queued_items))
    order by items.id
    for no key update
),

-- The aggregate is read to its end, so every item is locked, before the first hold is.
locked_item_count as materialized (
    select count(*) as count
    from locked_items
),

locked_reservations as materialized (
    select reservations.*
    from locked_item_count
    cross join stockhold.reservations
    where reservations.id = any (array(select id from pending_holds))
    and locked_item_count.count > 0
    order by reservations.id
    for no key update of reservations
),

reading as materialized (
    select
        count(*) as count,
        clock_timestamp() as clock
    from locked_reservations
),

decisions as materialized (
    select
        locked_reservations.*,
        first_calls.position,
        reading.clock,
        case
            when locked_reservations.expires_at <= reading.clock then 'EXPIRED'
            when first_calls.verb = 'confirm' then 'CONFIRMED'
            when first_calls.verb = 'cancel' then 'CANCELLED'
        end as next_status
    from locked_reservations
    cross join reading
    join first_calls on first_calls.reservation_id = locked_reservations.id
),

ended_reservations as (
    update stockhold.reservations
    set
        status = decisions.next_status,
        confirmed_quantity = case when decisions.next_status = 'CONFIRMED' then decisions.quantity else 0 end,
        confirmed_at = case when decisions.next_status = 'CONFIRMED' then decisions.clock end,
        cancelled_at = case when decisions.next_status = 'CANCELLED' then decisions.clock end,
        expired_at = case when decisions.next_status = 'EXPIRED' then decisions.expires_at end
    from decisions
    where reservations.id = any (array(select id from pending_holds))
    and reservations.id = decisions.id
    and decisions.status = 'PENDING'
    returning reservations.*, decisions.position, decisions.clock
),

updated_items as (
    update stockhold.items
    set
        held_quantity = locked_items.held_quantity - change.quantity,
        confirmed_quantity = locked_items.confirmed_quantity + change.confirmed_quantity,
        version = locked_items.version + change.count,
        updated_at = reading.clock
    from locked_items
    cross join reading
    join (
        select
            item_id,
            sum(quantity) as quantity,
            coalesce(sum(quantity) filter (where status = 'CONFIRMED'), 0) as confirmed_quantity,
            count(*) as count
        from ended_reservations
        group by item_id
    ) as change on change.item_id = locked_items.id
    where items.id = any (array(select item_id from queued_items))
    and items.id = locked_items.id
    returning items.id, items.total_quantity, items.updated_at
),

recorded_transitions as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select
        updated_items.id,
        locked_items.bucket,
        locked_items.version + row_number() over holds_of_item,
        ended_reservations.id,
        ended_reservations.status,
        ended_reservations.quantity,
        updated_items.total_quantity,
        locked_items.held_quantity - sum(ended_reservations.quantity) over holds_of_item,
        locked_items.confirmed_quantity + coalesce(
            sum(ended_reservations.quantity) filter (where ended_reservations.status = 'CONFIRMED') over holds_of_item,
            0
        ),
        updated_items.updated_at
    from ended_reservations
    join locked_items on locked_items.id = ended_reservations.item_id
    join updated_items on updated_items.id = ended_reservations.item_id
    window holds_of_item as (
        partition by ended_reservations.item_id
        order by ended_reservations.position
    )
)

-- The newest version known: what was written here, what was locked, what was seen.
select
    case
        when seen_reservations.id is null then 'not_found'
        when ended_reservations.position = calls.position then lower(ended_reservations.status)
        else 'already_' || lower(coalesce(ended_reservations.status, decisions.status, seen_reservations.status))
    end as outcome,
    calls.reservation_id as id,
    seen_reservations.item_id,
    seen_reservations.basket_id,
    seen_reservations.customer_id,
    seen_reservations.quantity,
    coalesce(
        ended_reservations.confirmed_quantity, decisions.confirmed_quantity, seen_reservations.confirmed_quantity
    ) as confirmed_quantity,
    coalesce(decisions.returned_quantity, seen_reservations.returned_quantity) as returned_quantity,
    coalesce(ended_reservations.status, decisions.status, seen_reservations.status) as status,
    seen_reservations.created_at,
    coalesce(decisions.expires_at, seen_reservations.expires_at) as expires_at,
    coalesce(ended_reservations.confirmed_at, decisions.confirmed_at, seen_reservations.confirmed_at) as confirmed_at,
    coalesce(ended_reservations.cancelled_at, decisions.cancelled_at, seen_reservations.cancelled_at) as cancelled_at,
    coalesce(ended_reservations.expired_at, decisions.expired_at, seen_reservations.expired_at) as expired_at
from request
cross join calls
left join seen_reservations on seen_reservations.id = calls.reservation_id
left join decisions on decisions.id = calls.reservation_id
left join ended_reservations on ended_reservations.id = calls.reservation_id
where request.bucket = $2::integer
order by calls.position
