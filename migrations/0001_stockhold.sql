-- Stockhold's schema: everything in a schema of its own, so that nothing is published with `public`.
-- Runs as one paste in any SQL editor, as a role that may create a schema in the database; a second run does no harm.

begin;

-- A call that waits behind a migration waits no longer than this; the migration is tried again.
set local lock_timeout = '2s';
set local client_min_messages = warning;

-- Two processes that start at once apply it one after the other.
select pg_advisory_xact_lock(hashtextextended('stockhold.migrations', 0));

create schema if not exists stockhold;

create table if not exists stockhold.migrations (
    version integer not null,
    name text not null,
    applied_at timestamptz not null default clock_timestamp(),

    constraint migration_applied_once primary key (version)
);

-- Where a row lives when there are several servers: the last two bytes of its item's id, with which the ids of the item's
-- reservations end as well. A router that knows the column sends each statement to the one server that has the item.
create or replace function stockhold.bucket(id uuid) returns integer
    language sql immutable strict parallel safe
    return get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15);

-- The item's counters are the fold of its ledger. `held_quantity` is the sum of PENDING rows, lapsed or not: what is
-- held until its expiry is recorded.
create table if not exists stockhold.items (
    id uuid not null,
    bucket integer not null,
    name text not null,
    sku text,
    -- As it came: jsonb would write numbers otherwise.
    metadata json not null,
    total_quantity bigint not null,
    held_quantity bigint not null default 0,
    confirmed_quantity bigint not null default 0,
    version bigint not null default 1,
    idempotency_key text,
    idempotency_fingerprint bytea,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint item_id_unique primary key (id),
    constraint item_bucket_is_its_ids check (bucket = stockhold.bucket(id)),
    constraint item_name_length check (char_length(name) between 1 and 200),
    constraint item_sku_length check (char_length(sku) between 1 and 200),
    constraint item_metadata_is_object check (json_typeof(metadata) = 'object'),
    constraint item_total_in_range check (total_quantity between 0 and 1000000000),
    constraint item_held_not_negative check (held_quantity >= 0),
    constraint item_confirmed_not_negative check (confirmed_quantity >= 0),
    constraint item_never_oversold check (held_quantity + confirmed_quantity <= total_quantity),
    constraint item_version_positive check (version >= 1),
    constraint item_key_has_fingerprint check ((idempotency_key is null) = (idempotency_fingerprint is null))
)
-- A hot item is updated thousands of times a second: room on its page keeps the new versions there (HOT), unindexed.
with (fillfactor = 50);

create table if not exists stockhold.reservations (
    id uuid not null,
    bucket integer not null,
    item_id uuid not null,
    basket_id uuid,
    customer_id text not null,
    quantity bigint not null,
    status text not null default 'PENDING',
    created_at timestamptz not null,
    expires_at timestamptz not null,
    confirmed_at timestamptz,
    cancelled_at timestamptz,
    expired_at timestamptz,
    idempotency_key text,
    idempotency_fingerprint bytea,

    constraint reservation_id_unique primary key (id),
    constraint reservation_bucket_is_its_ids check (
        bucket = stockhold.bucket(id) and bucket = stockhold.bucket(item_id)
    ),
    constraint reservation_of_item foreign key (item_id) references stockhold.items (id),
    constraint reservation_customer_id_length check (char_length(customer_id) between 1 and 200),
    constraint reservation_quantity_positive check (quantity between 1 and 1000000),
    constraint reservation_deadline_after_creation check (expires_at > created_at),
    constraint reservation_status_known check (status in ('PENDING', 'CONFIRMED', 'CANCELLED', 'EXPIRED')),
    -- Only an expiry may precede a confirmation: a late confirm that took the units anew ("reacquire").
    constraint reservation_status_agrees_with_timestamps check (
        (confirmed_at is not null) = (status = 'CONFIRMED')
        and (cancelled_at is not null) = (status = 'CANCELLED')
        and (expired_at is not null or status <> 'EXPIRED')
        and (expired_at is null or status in ('EXPIRED', 'CONFIRMED'))
    ),
    constraint reservation_confirmed_before_deadline check (confirmed_at < expires_at or expired_at is not null),
    constraint reservation_cancelled_before_deadline check (cancelled_at < expires_at),
    -- A hold ends at its deadline, whenever that is written down; `ledger.recorded_at` says when.
    constraint reservation_expired_at_deadline check (expired_at = expires_at),
    constraint reservation_key_has_fingerprint check ((idempotency_key is null) = (idempotency_fingerprint is null))
);

create table if not exists stockhold.ledger (
    item_id uuid not null,
    bucket integer not null,
    version bigint not null,
    reservation_id uuid,
    kind text not null,
    quantity bigint not null,
    total_quantity bigint not null,
    held_quantity bigint not null,
    confirmed_quantity bigint not null,
    recorded_at timestamptz not null,

    constraint ledger_one_row_per_version primary key (item_id, version),
    constraint ledger_bucket_is_its_items check (bucket = stockhold.bucket(item_id)),
    constraint ledger_of_item foreign key (item_id) references stockhold.items (id),
    constraint ledger_of_reservation foreign key (reservation_id) references stockhold.reservations (id),
    constraint ledger_version_positive check (version >= 1),
    constraint ledger_kind_known check (
        kind in ('CREATED', 'RESERVED', 'CONFIRMED', 'CANCELLED', 'EXPIRED', 'REACQUIRED')
    ),
    constraint ledger_starts_with_creation check ((kind = 'CREATED') = (version = 1)),
    constraint ledger_reservation_named check ((kind = 'CREATED') = (reservation_id is null)),
    constraint ledger_quantity_positive check (quantity >= 1),
    constraint ledger_held_not_negative check (held_quantity >= 0),
    constraint ledger_confirmed_not_negative check (confirmed_quantity >= 0),
    constraint ledger_never_oversold check (held_quantity + confirmed_quantity <= total_quantity)
);

-- A repeated call finds what the first one made.
create unique index if not exists item_idempotency_key_unique
    on stockhold.items (idempotency_key)
    where idempotency_key is not null;

create unique index if not exists reservation_idempotency_key_unique
    on stockhold.reservations (idempotency_key)
    where idempotency_key is not null;

-- `reserve`, `confirm` and `get_item` ask for one item's lapsed holds, oldest first.
create index if not exists reservation_pending_by_item
    on stockhold.reservations (item_id, expires_at, id)
    include (quantity)
    where status = 'PENDING';

-- `expire` asks for the lapsed holds of all items, oldest first.
create index if not exists reservation_pending_by_deadline
    on stockhold.reservations (expires_at)
    include (id, item_id)
    where status = 'PENDING';

-- `audit` adds up all of one item's reservations.
create index if not exists reservation_by_item
    on stockhold.reservations (item_id, id)
    include (quantity, status);

-- A hold ends once: a second confirm, cancel or expiry of the same reservation cannot be written down.
create unique index if not exists ledger_hold_ends_once
    on stockhold.ledger (reservation_id)
    where kind in ('CONFIRMED', 'CANCELLED', 'EXPIRED');

-- An expired hold is taken anew at most once.
create unique index if not exists ledger_reacquired_once
    on stockhold.ledger (reservation_id)
    where kind = 'REACQUIRED';

-- No policy: only the tables' owner, which is the service's role, sees a row.
alter table stockhold.migrations enable row level security;
alter table stockhold.items enable row level security;
alter table stockhold.reservations enable row level security;
alter table stockhold.ledger enable row level security;

revoke all on schema stockhold from public;
revoke all on all tables in schema stockhold from public;

-- Supabase's API roles; elsewhere they do not exist.
do $$
declare
    api_role text;
begin
    for api_role in
        select rolname
        from pg_roles
        where rolname in ('anon', 'authenticated')
    loop
        execute format('revoke all on schema stockhold from %I', api_role);
        execute format('revoke all on all tables in schema stockhold from %I', api_role);
    end loop;
end
$$;

insert into stockhold.migrations (version, name)
values (1, 'stockhold')
on conflict (version) do nothing;

commit;
