-- Lay one item's counters, the sums of its reservations and the fold of its ledger side by side.
--
-- Parameters: item_id uuid; bucket integer, of its id.
-- Locks:      none. All three come from one snapshot.
-- Recheck:    none. The clock is read once, after the snapshot.
-- Outcomes:   one row, or none when there is no such item. Reads the item's whole history.

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

reservation_sums as materialized (
    select
        coalesce(sum(quantity) filter (where status = 'PENDING'), 0)::bigint as held_quantity,
        coalesce(sum(quantity) filter (where status = 'PENDING' and expires_at <= reading.clock), 0)::bigint
            as lapsed_quantity,
        coalesce(sum(confirmed_quantity - returned_quantity), 0)::bigint as confirmed_quantity
    from stockhold.reservations
    cross join reading
    where reservations.item_id = (select id from item)
),

folded_entries as materialized (
    select
        ledger.version,
        row_number() over in_order as position,
        ledger.held_quantity,
        ledger.confirmed_quantity,
        ledger.total_quantity,
        sum(case when kind = 'CREATED' then quantity else 0 end) over in_order as total_fold,
        sum(
            case kind
                when 'RESERVED' then quantity
                when 'CONFIRMED' then -quantity
                when 'CANCELLED' then -quantity
                when 'EXPIRED' then -quantity
                else 0
            end
        ) over in_order as held_fold,
        sum(
            case kind
                when 'CONFIRMED' then quantity
                when 'REACQUIRED' then quantity
                when 'RETURNED' then -quantity
                else 0
            end
        ) over in_order as confirmed_fold
    from stockhold.ledger
    where ledger.item_id = (select id from item)
    window in_order as (order by ledger.version)
),

last_entry as materialized (
    select
        total_fold::bigint as total_quantity,
        held_fold::bigint as held_quantity,
        confirmed_fold::bigint as confirmed_quantity,
        version
    from folded_entries
    order by version desc
    limit 1
),

-- A gap, a counter that is not the fold so far, or more promised than there is.
first_wrong_entry as materialized (
    select min(version) as version
    from folded_entries
    where version <> position
    or total_quantity <> total_fold
    or held_quantity <> held_fold
    or confirmed_quantity <> confirmed_fold
    or held_quantity + confirmed_quantity > total_quantity
)

select
    item.id as item_id,
    item.total_quantity,
    item.held_quantity,
    item.confirmed_quantity,
    item.version,
    reservation_sums.held_quantity as reservations_held_quantity,
    reservation_sums.lapsed_quantity as reservations_lapsed_quantity,
    reservation_sums.confirmed_quantity as reservations_confirmed_quantity,
    coalesce(last_entry.total_quantity, 0) as ledger_total_quantity,
    coalesce(last_entry.held_quantity, 0) as ledger_held_quantity,
    coalesce(last_entry.confirmed_quantity, 0) as ledger_confirmed_quantity,
    coalesce(last_entry.version, 0) as ledger_version,
    first_wrong_entry.version as first_wrong_version,
    reading.clock as as_of
from request
cross join item
cross join reading
cross join reservation_sums
cross join first_wrong_entry
left join last_entry on true
where request.bucket = $2::integer
