-- Hold units of one item that has enough of them free; every other request is left to `reserve_batch`.
--
-- Parameters: reservation_id, item_id uuid; customer_id text; quantity bigint, units; ttl_seconds double precision,
--             seconds from the decision; idempotency_key text, idempotency_fingerprint bytea (both null without a key);
--             bucket integer, of the item's id.
-- Locks:      a place in the item's queue, then the item's row by its id, which the update takes; both only when the
--             snapshot shows enough units free and no reservation under the request's key.
-- Recheck:    the last line of `updated_item`: after a wait, PostgreSQL evaluates it again on the newest version of the
--             row. `decision` reads the clock after the lock; the clock in the update may be older than the wait.
-- Outcomes:   when the reservation was made and its deadline, or no row: too few units free, an unknown item, a key met
--             before. An id met before is reservation_id_unique, which stands for no row. Without a row nothing is written.

with request as materialized (
    select
        $1::uuid as reservation_id,
        $2::uuid as item_id,
        $3::text as customer_id,
        $4::bigint as quantity,
        $5::double precision as ttl_seconds,
        $6::text as idempotency_key,
        $7::bytea as idempotency_fingerprint,
        $8::integer as bucket
),

-- A count is one look-up; the planner may turn `not exists` into a join that reads the table. Calls queue here and not at
-- the row, where each waiter walks all versions since its snapshot. The queue guards nothing.
queued_request as materialized (
    select
        request.*,
        pg_advisory_xact_lock(hashtextextended(request.item_id::text, 0)) as place
    from request
    join stockhold.items on items.id = request.item_id
    where items.held_quantity + items.confirmed_quantity + request.quantity <= items.total_quantity
    and 0 = (select count(*) from stockhold.reservations where reservations.idempotency_key = request.idempotency_key)
),

updated_item as (
    update stockhold.items
    set
        held_quantity = items.held_quantity + queued_request.quantity,
        version = items.version + 1,
        updated_at = clock_timestamp()
    from queued_request
    where items.id = queued_request.item_id
    and items.held_quantity + items.confirmed_quantity + queued_request.quantity <= items.total_quantity
    returning
        items.id,
        items.bucket,
        items.version,
        items.total_quantity,
        items.held_quantity,
        items.confirmed_quantity
),

decision as materialized (
    select
        updated_item.*,
        clock_timestamp() as clock
    from updated_item
),

reserved as (
    insert into stockhold.reservations (
        id, bucket, item_id, customer_id, quantity, created_at, expires_at, idempotency_key, idempotency_fingerprint
    )
    select
        request.reservation_id,
        decision.bucket,
        decision.id,
        request.customer_id,
        request.quantity,
        decision.clock,
        decision.clock + make_interval(secs => request.ttl_seconds),
        request.idempotency_key,
        request.idempotency_fingerprint
    from request
    cross join decision
    returning reservations.created_at, reservations.expires_at
),

recorded_transition as (
    insert into stockhold.ledger (
        item_id, bucket, version, reservation_id, kind, quantity,
        total_quantity, held_quantity, confirmed_quantity, recorded_at
    )
    select
        decision.id,
        decision.bucket,
        decision.version,
        request.reservation_id,
        'RESERVED',
        request.quantity,
        decision.total_quantity,
        decision.held_quantity,
        decision.confirmed_quantity,
        decision.clock
    from request
    cross join decision
)

select
    reserved.created_at,
    reserved.expires_at
from request
cross join reserved
where request.bucket = $8::integer
