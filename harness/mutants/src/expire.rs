//! Faults of the sweep: too early, too often, too much, or for nothing.

use super::{END_UNCHECKED, Edit, Kind, Mutant, STATUS_UNCHECKED, TOTAL_UNCHECKED};

/// Time passes between the look and the lock, and not for every sweep the same.
const THOUGHT: Edit = Edit {
    statement: "expire",
    find: "    from due_holds\n    cross join request\n    where due_holds.position",
    replace: "    from due_holds\n    cross join request\n    cross join (select pg_sleep(0.03 * random()) offset 0) as thought\n    where due_holds.position",
};
const DUE: &str = "    and reservations.expires_at <= (select clock_timestamp())\n";
const STATUS: &str = "    and reservations.status not in ('CONFIRMED', 'CANCELLED', 'EXPIRED')\n";
const DEADLINE: &str = "    and reservations.expires_at <= reading.clock\n";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "sweep_twice",
        kind: Kind::SweepTwice,
        told: "The sweep finds lapsed holds, thinks, and releases them although another sweep did.",
        edits: &[THOUGHT, Edit { statement: "expire", find: STATUS, replace: "" }],
        schema: &[END_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "sweeps",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "sweep_releases_blindly",
        kind: Kind::BlindSweep,
        told: "The sweep finds holds that are about to lapse, thinks, and releases them whatever became of them.",
        edits: &[
            THOUGHT,
            Edit {
                statement: "expire",
                find: DUE,
                replace: "    and reservations.expires_at <= (select clock_timestamp() + interval '30 milliseconds')\n",
            },
            Edit { statement: "expire", find: STATUS, replace: "" },
            Edit { statement: "expire", find: DEADLINE, replace: "" },
        ],
        schema: &[END_UNCHECKED, STATUS_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "confirm_cancel_expire",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "sweep_too_early",
        kind: Kind::BlindSweep,
        told: "The sweep's clock is 60 ms fast.",
        edits: &[
            Edit {
                statement: "expire",
                find: DUE,
                replace: "    and reservations.expires_at <= (select clock_timestamp() + interval '60 milliseconds')\n",
            },
            Edit {
                statement: "expire",
                find: DEADLINE,
                replace: "    and reservations.expires_at <= reading.clock + interval '60 milliseconds'\n",
            },
        ],
        scenario: "confirm_expire",
        over_http: &["lifecycle", "occupancy"],
        with_database: &["lifecycle", "occupancy", "books"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "sweep_releases_nothing",
        kind: Kind::ReleaseNothing,
        told: "The sweep marks holds as expired and leaves the counter as it was.",
        edits: &[Edit {
            statement: "expire",
            find: "        held_quantity = locked_items.held_quantity - released.quantity,\n",
            replace: "        held_quantity = locked_items.held_quantity,\n",
        }],
        scenario: "sweeps",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "sweep_claims_too_much",
        kind: Kind::Unbooked,
        told: "The sweep answers how many holds it found, not how many it recorded.",
        edits: &[Edit {
            statement: "expire",
            find: "    (select count(*) from expired_holds) as expired_count,\n",
            replace: "    (select count(*) from batch) as expired_count,\n",
        }],
        scenario: "sweeps",
        over_http: &[],
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
];
