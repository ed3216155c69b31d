-- The least that a reservation writes, in one statement, into the same tables that the service writes to: no repeat is
-- recognised, no lapsed hold given back, no refusal told apart.
--
-- Parameters: item_id, reservation_id uuid.
-- Locks:      the item's row by its id, by the update itself.
-- Recheck:    `updated_item`: its guard is evaluated again on the newest version of the row.
-- Outcomes:   one row written when the unit was free, none otherwise.

with request as materialized (
    select
        $1::uuid as item_id,
        $2::uuid as reservation_id
),

updated_item as (
    update stockhold.items
    set
        held_quantity = items.held_quantity + 1,
        version = items.version + 1,
        updated_at = clock_timestamp()
    from request
    where items.id = request.item_id
    and items.held_quantity + items.confirmed_quantity + 1 <= items.total_quantity
    returning items.*, request.reservation_id
),

reserved as (
    insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
    select reservation_id, bucket, id, 'bench', 1, updated_at, updated_at + interval '1 day'
    from updated_item
)

insert into stockhold.ledger (
    item_id, bucket, version, reservation_id, kind, quantity,
    total_quantity, held_quantity, confirmed_quantity, recorded_at
)
select id, bucket, version, reservation_id, 'RESERVED', 1, total_quantity, held_quantity, confirmed_quantity, updated_at
from updated_item
