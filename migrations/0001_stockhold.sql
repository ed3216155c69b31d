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

-- A domain's check runs when a value is written. A table's checks all run with every insert and update of a row, and cost
-- about a quarter of a reservation's time; so a rule about one value is a domain's.
do $$
begin
    if to_regtype('stockhold.label') is null then
        create domain stockhold.label as text
            constraint label_length check (char_length(value) between 1 and 200);
        create domain stockhold.units as bigint
            constraint units_in_range check (value between 1 and 1000000);
        create domain stockhold.total_units as bigint
            constraint total_units_in_range check (value between 0 and 1000000000);
        -- As it came: jsonb would write numbers otherwise.
        create domain stockhold.metadata as json
            constraint metadata_is_object check (json_typeof(value) = 'object');
        create domain stockhold.reservation_status as text
            constraint reservation_status_known check (value in ('PENDING', 'CONFIRMED', 'CANCELLED', 'EXPIRED'));
        create domain stockhold.ledger_kind as text
            constraint ledger_kind_known check (
                value in ('CREATED', 'RESERVED', 'CONFIRMED', 'CANCELLED', 'EXPIRED', 'REACQUIRED', 'RETURNED')
            );
    end if;
end
$$;

-- For people and tools; the tables' checks spell it out, which costs less than a call.
create or replace function stockhold.bucket(id uuid) returns integer
    language sql immutable strict parallel safe
    return get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15);

-- The item's counters are the fold of its ledger. `held_quantity` is the sum of PENDING rows, lapsed or not: what is
-- held until its expiry is recorded.
create table if not exists stockhold.items (
    id uuid not null,
    -- Where the row lives when there are several servers: the last two bytes of the item's id, with which the ids of its
    -- reservations end as well. A router that knows the column sends each statement to the one server that has the item.
    bucket integer not null,
    name stockhold.label not null,
    sku stockhold.label,
    metadata stockhold.metadata not null,
    total_quantity stockhold.total_units not null,
    held_quantity bigint not null default 0,
    confirmed_quantity bigint not null default 0,
    version bigint not null default 1,
    idempotency_key text,
    idempotency_fingerprint bytea,
    created_at timestamptz not null,
    updated_at timestamptz not null,

    constraint item_id_unique primary key (id),
    -- What reservations refer to, so that they have the item's bucket.
    constraint item_in_bucket_unique unique (id, bucket),
    constraint item_bucket_is_its_ids check (bucket = get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15)),
    constraint item_never_oversold check (
        held_quantity >= 0 and confirmed_quantity >= 0 and held_quantity + confirmed_quantity <= total_quantity
    )
)
-- A hot item is updated thousands of times a second: room on its page keeps the new versions there (HOT), unindexed.
with (fillfactor = 50);

create table if not exists stockhold.reservations (
    id uuid not null,
    bucket integer not null,
    item_id uuid not null,
    basket_id uuid,
    customer_id stockhold.label not null,
    quantity stockhold.units not null,
    -- Sold for good, and of these, back on the shelf; the sale itself stands.
    confirmed_quantity bigint not null default 0,
    returned_quantity bigint not null default 0,
    status stockhold.reservation_status not null default 'PENDING',
    created_at timestamptz not null,
    expires_at timestamptz not null,
    confirmed_at timestamptz,
    cancelled_at timestamptz,
    expired_at timestamptz,
    idempotency_key text,
    idempotency_fingerprint bytea,

    constraint reservation_id_unique primary key (id),
    constraint reservation_of_item foreign key (item_id, bucket) references stockhold.items (id, bucket),
    constraint reservation_bucket_is_its_ids check (
        bucket = get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15)
    ),
    constraint reservation_returns_no_more_than_was_sold check (
        (status = 'CONFIRMED') = (confirmed_quantity > 0)
        and confirmed_quantity <= quantity
        and returned_quantity between 0 and confirmed_quantity
    ),
    -- Only an expiry may precede a confirmation: a late confirm that took the units anew ("reacquire"). A hold ends at its
    -- deadline, whenever that is written down; `ledger.recorded_at` says when.
    constraint reservation_status_agrees_with_times check (
        created_at < expires_at
        and (confirmed_at is not null) = (status = 'CONFIRMED')
        and (cancelled_at is not null) = (status = 'CANCELLED')
        and case
            when expired_at is null then status <> 'EXPIRED' and coalesce(confirmed_at, cancelled_at, created_at) < expires_at
            else expired_at = expires_at and status in ('EXPIRED', 'CONFIRMED')
        end
    )
);

-- `audit` adds up all of one item's reservations, and a ledger row refers to one of its item.
create unique index if not exists reservation_of_item_unique
    on stockhold.reservations (item_id, id)
    include (quantity, status);

create table if not exists stockhold.ledger (
    item_id uuid not null,
    bucket integer not null,
    version bigint not null,
    reservation_id uuid,
    kind stockhold.ledger_kind not null,
    quantity bigint not null,
    total_quantity bigint not null,
    held_quantity bigint not null,
    confirmed_quantity bigint not null,
    recorded_at timestamptz not null,
    -- Of a return: the caller's, or one made for the call, which begins with a space, as no caller's does.
    idempotency_key text,
    idempotency_fingerprint bytea,

    constraint ledger_one_row_per_version primary key (item_id, version),
    constraint ledger_of_reservation foreign key (item_id, reservation_id)
        references stockhold.reservations (item_id, id),
    constraint ledger_of_item foreign key (item_id, bucket) references stockhold.items (id, bucket),
    constraint ledger_starts_with_creation check (
        version >= 1 and (kind = 'CREATED') = (version = 1) and (kind = 'CREATED') = (reservation_id is null)
    ),
    constraint ledger_never_oversold check (
        quantity >= 1
        and held_quantity >= 0
        and confirmed_quantity >= 0
        and held_quantity + confirmed_quantity <= total_quantity
    )
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

create unique index if not exists ledger_idempotency_key_unique
    on stockhold.ledger (idempotency_key)
    where idempotency_key is not null;

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
