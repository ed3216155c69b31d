//! Faults of reserving that reach beyond one statement, or that keep the books in step.

use super::{
    Edit, Habit, Kind, Mutant, TOTAL_UNCHECKED,
    reserve::{CHECK_THEN_TAKE, NOT_LEAN},
};

/// Gives back what was too much, through the books, a moment later.
const REPAIR: &str = "
select pg_sleep(0.004);

with locked_items as materialized (
    select items.id
    from stockhold.items
    where items.id in (
        select reservations.item_id
        from stockhold.reservations
        where reservations.customer_id = 'too much' and reservations.status = 'PENDING'
    )
    order by items.id
    for no key update
),

repaired as (
    update stockhold.reservations
    set status = 'CANCELLED', cancelled_at = clock_timestamp()
    from locked_items
    where reservations.item_id = locked_items.id
    and reservations.customer_id = 'too much'
    and reservations.status = 'PENDING'
    returning reservations.id, reservations.item_id, reservations.quantity
),

updated_items as (
    update stockhold.items
    set held_quantity = items.held_quantity - released.quantity, version = items.version + released.count
    from (select item_id, sum(quantity) as quantity, count(*) as count from repaired group by item_id) as released
    where items.id = released.item_id
    returning items.*
)

insert into stockhold.ledger
select
    updated_items.id,
    updated_items.bucket,
    updated_items.version - count(*) over item + row_number() over holds_of_item,
    repaired.id,
    'CANCELLED',
    repaired.quantity,
    updated_items.total_quantity,
    updated_items.held_quantity + sum(repaired.quantity) over item - sum(repaired.quantity) over holds_of_item,
    updated_items.confirmed_quantity,
    clock_timestamp()
from repaired
join updated_items on updated_items.id = repaired.item_id
window
    item as (partition by repaired.item_id),
    holds_of_item as (partition by repaired.item_id order by repaired.id rows unbounded preceding)";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "mutex_in_memory",
        kind: Kind::MutexInMemory,
        told: "Reserve checks and takes without a lock, behind a mutex of each process's own.",
        edits: CHECK_THEN_TAKE,
        schema: &[TOTAL_UNCHECKED],
        habit: Habit::Mutex,
        scenario: "burst",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "success_then_rollback",
        kind: Kind::SuccessThenRollback,
        told: "Reserve answers before it commits, and now and then the commit does not come.",
        habit: Habit::Forget { every: 7 },
        scenario: "burst",
        with_database: &["ledger"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "spike_repaired",
        kind: Kind::SpikeRepaired,
        told: "Reserve takes first, refuses what was too much, and gives it back a moment later.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "    where demand.smallest_quantity <= seen_item.free_quantity + lapsed_total.quantity\n",
                replace: "    where true\n",
            },
            Edit {
                statement: "reserve_batch",
                find: "    join room on room.quantity >= demand.quantity\n",
                replace: "    join room on true\n",
            },
            Edit {
                statement: "reserve_batch",
                find: "    where room.quantity < demand.quantity\n",
                replace: "    where false\n",
            },
            Edit {
                statement: "reserve_batch",
                find: "        admitted_calls.customer_id,\n",
                replace: "        case when admitted_calls.quantity <= decision.free_quantity + (select quantity from released)
            then admitted_calls.customer_id else 'too much' end,\n",
            },
            Edit {
                statement: "reserve_batch",
                find: "        when reserved.id is not null then 'reserved'\n",
                replace: "        when reserved.customer_id = 'too much' then 'insufficient_availability'
        when reserved.id is not null then 'reserved'\n",
            },
        ],
        schema: &[TOTAL_UNCHECKED],
        habit: Habit::Repair { sql: REPAIR },
        scenario: "last_unit",
        over_http: &["answers", "occupancy", "search"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "books_doubled_in_step",
        kind: Kind::BooksInStep,
        told: "Reserve makes every hold twice, and rows, counters and ledger agree that it did.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "    select open_calls.*\n    from open_calls\n    cross join demand\n    join room on room.quantity >= demand.quantity\n",
                replace: "    select
        open_calls.turn,
        open_calls.position,
        case
            when copy = 1 then open_calls.reservation_id
            else (left(gen_random_uuid()::text, 32) || right(open_calls.reservation_id::text, 4))::uuid
        end as reservation_id,
        open_calls.customer_id,
        open_calls.quantity,
        open_calls.ttl_seconds,
        case when copy = 1 then open_calls.idempotency_key end as idempotency_key,
        case when copy = 1 then open_calls.idempotency_fingerprint end as idempotency_fingerprint
    from open_calls
    cross join generate_series(1, 2) as copy
    cross join demand
    join room on room.quantity >= 2 * demand.quantity\n",
            },
            Edit {
                statement: "reserve_batch",
                find: "    join open_calls on open_calls.turn = turns.turn\n",
                replace: "    join (
        select
            turn, position, reservation_id, customer_id, quantity, ttl_seconds, idempotency_key, idempotency_fingerprint
        from open_calls
    ) as open_calls on open_calls.turn = turns.turn\n",
            },
        ],
        scenario: "burst",
        with_database: &["ledger"],
        ..Mutant::PLAIN
    },
];
