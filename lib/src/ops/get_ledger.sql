-- Read one item's history in version order, a page at a time.
--
-- Parameters: item_id uuid; after_version bigint, 0 for the first page; entry_count_max bigint, at least 1;
--             bucket integer, of the item's id.
-- Locks:      none. A ledger row never changes.
-- Recheck:    none.
-- Outcomes:   no row when there is no such item; otherwise one row an entry, or one row without an entry when the page
--             is empty. One entry more than asked for tells that another page follows.

with request as materialized (
    select
        $1::uuid as item_id,
        $2::bigint as after_version,
        $3::bigint as entry_count_max,
        $4::integer as bucket
),

item as materialized (
    select items.id
    from request
    join stockhold.items on items.id = request.item_id
),

entries as materialized (
    select ledger.*
    from stockhold.ledger
    where ledger.item_id = (select id from item)
    and ledger.version > (select after_version from request)
    order by ledger.version
    limit (select entry_count_max + 1 from request)
)

select
    item.id as item_id,
    entries.version,
    entries.reservation_id,
    entries.kind,
    entries.quantity,
    entries.total_quantity,
    entries.held_quantity,
    entries.confirmed_quantity,
    entries.recorded_at
from request
cross join item
left join entries on entries.item_id = item.id
where request.bucket = $4::integer
order by entries.version
