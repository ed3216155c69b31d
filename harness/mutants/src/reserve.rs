//! Faults of reserving: what is sold twice, and what is not sold at all.

use super::{END_UNCHECKED, Edit, KEY_UNCHECKED, Kind, Mutant, TOTAL_UNCHECKED, VERSION_UNCHECKED};

const LOCK: &str = "    for no key update\n),\n\ndecision as materialized (\n";
/// The item is read and not locked.
const NO_LOCK: Edit = Edit { statement: "reserve_batch", find: LOCK, replace: "),\n\ndecision as materialized (\n" };
/// Time passes between the look and the lock.
const THOUGHT: Edit = Edit {
    statement: "reserve_batch",
    find: "    from request\n    cross join demand\n    cross join seen_item\n    cross join lapsed_total\n",
    replace: "    from request\n    cross join demand\n    cross join seen_item\n    cross join lapsed_total\n    cross join pg_sleep(0.003) as thought\n",
};
/// Long enough that calls which are sent one after the other look at once.
const LONG_THOUGHT: Edit = Edit {
    statement: "reserve_batch",
    find: THOUGHT.find,
    replace: "    from request\n    cross join demand\n    cross join seen_item\n    cross join lapsed_total\n    cross join pg_sleep(0.02) as thought\n",
};
/// What is decided in the end, where all calls fit.
const GUARD: &str = "    join room on room.quantity >= demand.quantity\n";
/// What is decided in the end, where not all calls fit.
const GUARD_OF_TURNS: &str = "    where room.quantity < demand.quantity\n";
/// What is looked at before the lock.
const PROMISE: &str = "    where demand.smallest_quantity <= seen_item.free_quantity + lapsed_total.quantity\n";
/// The lean statement grants nothing, so that each call meets the general one, in which the fault is.
pub(super) const NOT_LEAN: Edit = Edit { statement: "reserve", find: LEAN_PROMISE, replace: "    where false\n" };
/// What the lean statement looks at before its lock.
const LEAN_PROMISE: &str =
    "    where items.held_quantity + items.confirmed_quantity + request.quantity <= items.total_quantity\n";
/// What it decides by.
const LEAN_GUARD: &str =
    "    and items.held_quantity + items.confirmed_quantity + queued_request.quantity <= items.total_quantity\n";

/// Adds to whatever the counters are by then, without having locked them.
pub(super) const CHECK_THEN_TAKE: &[Edit] = &[
    NOT_LEAN,
    NO_LOCK,
    THOUGHT,
    Edit {
        statement: "reserve_batch",
        find: "        held_quantity = decision.held_quantity + change.held_change,\n        version = decision.version + change.count,\n",
        replace: "        held_quantity = items.held_quantity + change.held_change,\n        version = items.version + change.count,\n",
    },
    Edit {
        statement: "reserve_batch",
        find: "    returning items.id, items.total_quantity, items.confirmed_quantity\n",
        replace: "    returning items.id, items.total_quantity, items.confirmed_quantity, items.held_quantity, items.version\n",
    },
    Edit {
        statement: "reserve_batch",
        find: "        decision.version + transitions.step,\n",
        replace: "        updated_item.version - count(*) over () + transitions.step,\n",
    },
    Edit {
        statement: "reserve_batch",
        find: "        decision.held_quantity + sum(transitions.held_change) over (order by transitions.step),\n",
        replace: "        updated_item.held_quantity - sum(transitions.held_change) over () + sum(transitions.held_change) over (order by transitions.step),\n",
    },
];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "read_modify_write",
        kind: Kind::ReadModifyWrite,
        told: "Reserve reads the counters without a lock and writes back what it read, plus its own.",
        edits: &[NOT_LEAN, NO_LOCK],
        schema: &[TOTAL_UNCHECKED, VERSION_UNCHECKED],
        scenario: "burst",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "count_then_insert",
        kind: Kind::CountThenInsert,
        told: "Reserve locks the item, and then adds up reservations that its snapshot shows.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "        locked_item.total_quantity - locked_item.held_quantity - locked_item.confirmed_quantity as free_quantity,\n",
                replace: "        locked_item.total_quantity - (
                select coalesce(sum(reservations.quantity), 0)::bigint
                from stockhold.reservations
                where reservations.item_id = locked_item.id and reservations.status in ('PENDING', 'CONFIRMED')
            ) as free_quantity,\n",
            },
        ],
        schema: &[TOTAL_UNCHECKED],
        scenario: "burst",
        schedule: Some("row 3 A1 B1: reserve1,reserve1"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "check_then_take",
        kind: Kind::CountThenInsert,
        told: "Reserve checks without a lock, thinks, and adds to the counters without checking again.",
        edits: CHECK_THEN_TAKE,
        schema: &[TOTAL_UNCHECKED],
        scenario: "last_unit",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "off_by_one",
        kind: Kind::OffByOne,
        told: "Reserve admits one unit more than there is.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: PROMISE,
                replace: "    where demand.smallest_quantity <= seen_item.free_quantity + lapsed_total.quantity + 1\n",
            },
            Edit {
                statement: "reserve_batch",
                find: GUARD,
                replace: "    join room on room.quantity + 1 >= demand.quantity\n",
            },
            Edit {
                statement: "reserve_batch",
                find: GUARD_OF_TURNS,
                replace: "    where room.quantity + 1 < demand.quantity\n",
            },
        ],
        schema: &[TOTAL_UNCHECKED],
        scenario: "last_unit",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "decided_before_the_lock",
        kind: Kind::OldRead,
        told: "Reserve locks the item, and decides by what it read before.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "    select decision.free_quantity + released.quantity as quantity\n    from decision\n",
                replace: "    select seen_item.free_quantity + released.quantity as quantity\n    from decision\n    cross join seen_item\n",
            },
        ],
        schema: &[TOTAL_UNCHECKED],
        scenario: "mixed_quantities",
        schedule: Some("row 3 A1 B1: reserve1,reserve1"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "last_unit_kept_back",
        kind: Kind::FalseRefusal,
        told: "Reserve never sells the last unit.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: GUARD,
                replace: "    join room on room.quantity > demand.quantity\n",
            },
        ],
        scenario: "burst",
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "busy_is_sold_out",
        kind: Kind::FalseRefusal,
        told: "Reserve takes an item that somebody else has locked for a moment for one that is sold out.",
        edits: &[
            NOT_LEAN,
            // Whoever waits in the queue finds the row unlocked.
            Edit {
                statement: "reserve_batch",
                find: "        pg_advisory_xact_lock(hashtextextended(promising_request.item_id::text, 0)) as place\n",
                replace: "        null as place\n",
            },
            Edit {
                statement: "reserve_batch",
                find: LOCK,
                replace: "    for no key update skip locked\n),\n\ndecision as materialized (\n",
            },
            Edit {
                statement: "reserve_batch",
                find: "        clock_timestamp() as clock\n    from locked_item\n",
                replace: "        clock_timestamp() as clock\n    from locked_item\n    cross join pg_sleep(0.005) as thought\n",
            },
        ],
        scenario: "burst",
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "refused_from_memory",
        kind: Kind::FalseRefusal,
        told: "Once refused, an item goes on being refused without a look at what came back.",
        edits: &[Edit {
            statement: "refuse",
            find: "        items.total_quantity - items.held_quantity - items.confirmed_quantity + lapsed_total.quantity\n            as available_quantity\n",
            replace: "        0::bigint as available_quantity\n",
        }],
        scenario: "walk",
        with_database: &["expectation", "occupancy", "search"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "lapsed_holds_kept",
        kind: Kind::FalseRefusal,
        told: "Reserve leaves lapsed holds to the sweep, and refuses their units until it has run.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "    and reservations.expires_at <= (select clock from reading)\n",
                replace: "    and reservations.expires_at <= (select clock - interval '1 hour' from reading)\n",
            },
        ],
        scenario: "resale",
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "live_holds_expired",
        kind: Kind::BlindSweep,
        told: "Reserve expires the holds whose units it needs, lapsed or not.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "    and reservations.expires_at <= (select clock from reading)\n",
                replace: "",
            },
            Edit {
                statement: "reserve_batch",
                find: "    and reservations.expires_at <= decision.clock\n",
                replace: "",
            },
        ],
        scenario: "last_unit",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "lapsed_hold_released_again",
        kind: Kind::SweepTwice,
        told: "Reserve releases a lapsed hold that somebody else released while it waited.",
        edits: &[
            NOT_LEAN,
            THOUGHT,
            Edit {
                statement: "reserve_batch",
                find: "    and reservations.status not in ('CONFIRMED', 'CANCELLED', 'EXPIRED')\n",
                replace: "",
            },
        ],
        schema: &[END_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "confirm_expire",
        schedule: Some("row 3 A1~ B1: deadline | reserve2,reserve2"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "key_ignored",
        kind: Kind::KeyIgnored,
        told: "Reserve does not look for an earlier reservation under the same key.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "        where reservations.idempotency_key = calls.idempotency_key\n",
                replace: "        where false\n",
            },
        ],
        schema: &[KEY_UNCHECKED],
        scenario: "lost_answer",
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "key_looked_up_only",
        kind: Kind::KeyIgnored,
        told: "Reserve looks for an earlier reservation under the same key, and nothing stops two that look at once.",
        edits: &[NOT_LEAN, LONG_THOUGHT],
        schema: &[KEY_UNCHECKED],
        scenario: "lost_answer",
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "reserve_clock_before_the_lock",
        kind: Kind::StaleNow,
        told: "Reserve reads `now()`, which is older than its wait for the item.",
        edits: &[
            NOT_LEAN,
            Edit {
                statement: "reserve_batch",
                find: "        clock_timestamp() as clock\n    from locked_item\n",
                replace: "        now() as clock\n    from locked_item\n",
            },
        ],
        scenario: "burst",
        over_http: &[],
        schedule: Some("row 3 A1 B1: confirmA,reserve1"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "lean_off_by_one",
        kind: Kind::OffByOne,
        told: "The lean reserve admits one unit more than there is.",
        edits: &[
            Edit {
                statement: "reserve",
                find: LEAN_PROMISE,
                replace: "    where items.held_quantity + items.confirmed_quantity + request.quantity <= items.total_quantity + 1\n",
            },
            Edit {
                statement: "reserve",
                find: LEAN_GUARD,
                replace: "    and items.held_quantity + items.confirmed_quantity + queued_request.quantity <= items.total_quantity + 1\n",
            },
        ],
        schema: &[TOTAL_UNCHECKED],
        scenario: "last_unit",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "lean_decided_before_the_lock",
        kind: Kind::OldRead,
        told: "The lean reserve waits for the item, and decides by what it read before.",
        edits: &[Edit { statement: "reserve", find: LEAN_GUARD, replace: "" }],
        schema: &[TOTAL_UNCHECKED],
        scenario: "burst",
        schedule: Some("row 3 A1 B1: reserve1,reserve1"),
        ..Mutant::PLAIN
    },
];
