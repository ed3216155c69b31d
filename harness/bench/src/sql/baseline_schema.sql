-- What the baselines work on: a counter, and the two tables of a service without a ledger.

drop schema if exists stockhold_bench cascade;

create schema stockhold_bench;

-- The same room for new versions on the page as Stockhold's items have.
create table stockhold_bench.counters (
    id integer primary key,
    held bigint not null default 0
)
with (fillfactor = 50);

insert into stockhold_bench.counters (id) values (1);

create table stockhold_bench.items (
    id uuid primary key,
    total bigint not null,
    held bigint not null default 0,
    confirmed bigint not null default 0
)
with (fillfactor = 50);

create table stockhold_bench.reservations (
    id uuid primary key default gen_random_uuid(),
    item_id uuid not null references stockhold_bench.items (id),
    customer_id text not null,
    quantity bigint not null,
    status text not null default 'PENDING',
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null
);

create index on stockhold_bench.reservations (item_id, expires_at);
