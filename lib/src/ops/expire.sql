-- Record a batch of lapsed holds as EXPIRED, oldest first, and give their units back.
--
-- Parameters: hold_count_max bigint, at least 1; busy_item_ids uuid[], items to leave out; expires_from timestamptz, a
--             deadline before which nothing is looked for, or null.
-- Locks:      the items of the batch by ascending id, skipping those that are busy: a sweep waits for no call, and any
--             number may run at once. Then their holds, which no statement changes without the item's lock.
-- Recheck:    `expired_holds` rechecks status and deadline on the newest version of each hold, against the clock that
--             `reading` reads after the locks.
-- Outcomes:   always one row: what was expired, the items found busy, the last deadline of the batch, and whether more
--             holds are due.

with request as materialized (
    select
        $1::bigint as hold_count_max,
        $2::uuid[] as busy_item_ids,
        $3::timestamptz as expires_from
),

-- One more than asked for tells whether more are due. The bounds are scalar subqueries, and so bounds of the index scan:
-- until a vacuum, the index still has what earlier batches expired, and without a lower one each would walk past all of it.
due_holds as materialized (
    select
        reservations.id,
        reservations.item_id,
        reservations.expires_at,
        row_number() over (order by reservations.expires_at) as position
    from stockhold.reservations
    where reservations.status = 'PENDING'
    and reservations.expires_at >= (select coalesce(expires_from, '-infinity') from request)
    and reservations.expires_at <= (select clock_timestamp())
    and reservations.item_id <> all ((select busy_item_ids from request)::uuid[])
    order by reservations.expires_at
    limit (select hold_count_max + 1 from request)
),

batch as materialized (
    select due_holds.id, due_holds.item_id, due_holds.expires_at
    from due_holds
    cross join request
    where due_holds.position <= request.hold_count_max
),

locked_items as materialized (
    select items.*
    from stockhold.items
    where items.id = any (array(select distinct item_id from batch))
    order by items.id
    for no key update
    skip locked
),

-- The aggregate is read to its end before the clock is.
reading as materialized (
    select
        count(*) as item_count,
        clock_timestamp() as clock
    from locked_items
),

-- `status = 'PENDING'` would invite a plan that reads the index of all PENDING holds to find these few; a join with the
-- locked items, whose number no planner knows, one that compares each hold with each item.
expired_holds as (
    update stockhold.reservations
    set
        status = 'EXPIRED',
        expired_at = reservations.expires_at
    from reading
    where reservations.id = any (array(select id from batch))
    and reservations.item_id = any (array(select id from locked_items))
    and reservations.status not in ('CONFIRMED', 'CANCELLED', 'EXPIRED')
    and reservations.expires_at <= reading.clock
    returning reservations.id, reservations.item_id, reservations.quantity, reservations.expires_at
),

updated_items as (
    update stockhold.items
    set
        held_quantity = locked_items.held_quantity - released.quantity,
        version = locked_items.version + released.count,
        updated_at = reading.clock
    from locked_items
    join (
        select
            item_id,
            sum(quantity) as quantity,
            count(*) as count
        from expired_holds
        group by item_id
    ) as released on released.item_id = locked_items.id
    cross join reading
    where items.id = locked_items.id
    returning items.id
),

recorded_transitions as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select
        locked_items.id,
        locked_items.bucket,
        locked_items.version + row_number() over holds_of_item,
        expired_holds.id,
        'EXPIRED',
        expired_holds.quantity,
        locked_items.total_quantity,
        locked_items.held_quantity - sum(expired_holds.quantity) over holds_of_item,
        locked_items.confirmed_quantity,
        reading.clock
    from expired_holds
    join locked_items on locked_items.id = expired_holds.item_id
    cross join reading
    where locked_items.id = any (array(select id from updated_items))
    window holds_of_item as (
        partition by expired_holds.item_id
        order by expired_holds.expires_at, expired_holds.id
    )
)

select
    (select count(*) from expired_holds) as expired_count,
    (select coalesce(sum(quantity), 0)::bigint from expired_holds) as released_quantity,
    array(
        select distinct batch.item_id
        from batch
        where batch.item_id not in (select locked_items.id from locked_items)
    ) as busy_item_ids,
    (select max(expires_at) from batch) as last_deadline,
    (select count(*) from due_holds) > request.hold_count_max as has_more
from request
