-- Create an item with its units and the first row of its ledger.
--
-- Parameters: item_id uuid; name, sku text (sku may be null); metadata text, a JSON object; total_quantity bigint, units;
--             idempotency_key text, idempotency_fingerprint bytea (both null without a key); bucket integer, of the
--             item's id.
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
        $7::bytea as idempotency_fingerprint,
        $8::integer as bucket
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

created_item as (
    insert into stockhold.items (
        id, bucket, name, sku, metadata, total_quantity, idempotency_key, idempotency_fingerprint, created_at, updated_at
    )
    select
        request.item_id,
        request.bucket,
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
        item_id, bucket, version, kind, quantity, total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select id, bucket, version, 'CREATED', total_quantity, total_quantity, held_quantity, confirmed_quantity, created_at
    from created_item
)

select
    case
        when created_item.id is not null or earlier_item.id = request.item_id then 'created'
        when earlier_item.idempotency_fingerprint is distinct from request.idempotency_fingerprint then 'key_reused'
        else 'replayed'
    end as outcome,
    coalesce(created_item.id, earlier_item.id) as id,
    coalesce(created_item.name, earlier_item.name) as name,
    coalesce(created_item.sku, earlier_item.sku) as sku,
    coalesce(created_item.metadata, earlier_item.metadata) as metadata,
    coalesce(created_item.total_quantity, earlier_item.total_quantity) as total_quantity,
    coalesce(created_item.created_at, earlier_item.created_at) as created_at
from request
left join created_item on true
left join earlier_item on true
where request.bucket = $8::integer
