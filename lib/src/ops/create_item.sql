-- Create an item with its units and the first row of its ledger.
--
-- Parameters: item_id uuid; name, sku text (sku may be null); metadata text, a JSON object; total_quantity bigint, units;
--             idempotency_key text, idempotency_fingerprint bytea (both null without a key).
-- Locks:      none but the new rows. A second call under the same id or key waits for the first at the unique index,
--             meets item_id_unique or item_idempotency_key_unique, and is run again: it then finds the first one's row.
-- Recheck:    none; nothing is decided from a row that may change.
-- Outcomes:   replayed, key_reused, created.

with request as materialized (
    select
        $1::uuid as item_id,
        $2::text as name,
        $3::text as sku,
        $4::text::json as metadata,
        $5::bigint as total_quantity,
        $6::text as idempotency_key,
        $7::bytea as idempotency_fingerprint
),

-- An internal repeat comes under its own id, a caller's repeat under its key.
earlier_item as materialized (
    select items.*
    from request
    join stockhold.items on items.id = request.item_id
    union all
    select items.*
    from request
    join stockhold.items on items.idempotency_key = request.idempotency_key
    where items.id <> request.item_id
),

-- The first answer is the answer to every repeat, whatever was sold since.
first_entry as materialized (
    select ledger.item_id, ledger.total_quantity
    from earlier_item
    join stockhold.ledger on ledger.item_id = earlier_item.id
    where ledger.version = 1
),

created_item as (
    insert into stockhold.items (
        id, name, sku, metadata, total_quantity, idempotency_key, idempotency_fingerprint, created_at, updated_at
    )
    select
        request.item_id,
        request.name,
        request.sku,
        request.metadata,
        request.total_quantity,
        request.idempotency_key,
        request.idempotency_fingerprint,
        reading.clock,
        reading.clock
    from request
    cross join (select clock_timestamp() as clock offset 0) as reading
    where not exists (select from earlier_item)
    returning *
),

recorded_entry as (
    insert into stockhold.ledger (
        item_id, version, kind, quantity, total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select id, version, 'CREATED', total_quantity, total_quantity, held_quantity, confirmed_quantity, created_at
    from created_item
    returning item_id
)

select
    'created' as outcome,
    created_item.id,
    created_item.name,
    created_item.sku,
    created_item.metadata,
    created_item.total_quantity,
    created_item.created_at
from created_item
join recorded_entry on recorded_entry.item_id = created_item.id
union all
select
    case
        when earlier_item.idempotency_fingerprint is distinct from request.idempotency_fingerprint then 'key_reused'
        when earlier_item.id = request.item_id then 'created'
        else 'replayed'
    end,
    earlier_item.id,
    earlier_item.name,
    earlier_item.sku,
    earlier_item.metadata,
    first_entry.total_quantity,
    earlier_item.created_at
from request
cross join earlier_item
join first_entry on first_entry.item_id = earlier_item.id
