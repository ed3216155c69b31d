//! Faults of the statements that answer many calls at once: what is shared out twice, or not at all, and what one batch
//! does to a hold that another one ended. They need coalescing, and calls that meet in one process.

use super::{END_UNCHECKED, Edit, KEY_UNCHECKED, Kind, Mutant, STATUS_UNCHECKED, TOTAL_UNCHECKED, VERSION_UNCHECKED};

/// What a batch has, apart from what is wrong with it.
const BATCH: Mutant = Mutant { coalescing: true, ..Mutant::PLAIN };

/// The next call of a batch that does not fit as a whole.
const FITS: &str = "        demand.quantities[turns.turn + 1] <= turns.free_quantity,\n";
/// What a call leaves to the next one.
const LEAVES: &str = "        turns.free_quantity
            - case
                when demand.quantities[turns.turn + 1] <= turns.free_quantity then demand.quantities[turns.turn + 1]
                else 0
            end
    from turns\n";
/// Which holds a batch touches at all, by its snapshot.
const SEEN_PENDING: &str = "    where seen_reservations.status = 'PENDING'\n";
/// And which it ends.
const RECHECK: &str = "    and decisions.status = 'PENDING'\n";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "batch_forgets_to_subtract",
        kind: Kind::SharedTwice,
        told: "A batch asks of each call whether it fits, and forgets what the calls before it took.",
        edits: &[Edit {
            statement: "reserve_batch",
            find: LEAVES,
            replace: "        turns.free_quantity\n    from turns\n",
        }],
        schema: &[TOTAL_UNCHECKED],
        scenario: "mixed_quantities",
        ..BATCH
    },
    Mutant {
        name: "batch_admits_all_or_none",
        kind: Kind::SharedTwice,
        told: "A batch of which the smallest call fits is admitted as a whole.",
        edits: &[
            Edit {
                statement: "reserve_batch",
                find: "    join room on room.quantity >= demand.quantity\n",
                replace: "    join room on room.quantity >= demand.smallest_quantity\n",
            },
            Edit {
                statement: "reserve_batch",
                find: "    where room.quantity < demand.quantity\n",
                replace: "    where room.quantity < demand.smallest_quantity\n",
            },
        ],
        schema: &[TOTAL_UNCHECKED],
        scenario: "burst",
        ..BATCH
    },
    Mutant {
        name: "batch_ends_at_a_refusal",
        kind: Kind::FalseRefusal,
        told: "A batch refuses every call behind one that does not fit, whatever is left.",
        edits: &[Edit {
            statement: "reserve_batch",
            find: FITS,
            replace: "        (turns.turn = 0 or turns.fits) and demand.quantities[turns.turn + 1] <= turns.free_quantity,\n",
        }],
        scenario: "mixed_quantities",
        with_database: &["expectation"],
        ..BATCH
    },
    Mutant {
        name: "batch_decided_before_the_lock",
        kind: Kind::OldRead,
        told: "A batch locks the item, and shares out what it read before.",
        edits: &[Edit {
            statement: "reserve_batch",
            find: "    select decision.free_quantity + released.quantity as quantity\n    from decision\n",
            replace: "    select seen_item.free_quantity + released.quantity as quantity\n    from decision\n    cross join seen_item\n",
        }],
        schema: &[TOTAL_UNCHECKED],
        scenario: "burst",
        ..BATCH
    },
    Mutant {
        name: "batch_takes_no_lock",
        kind: Kind::LockNotTaken,
        told: "A batch reads the counters without a lock and writes back what it read, plus its own.",
        edits: &[Edit {
            statement: "reserve_batch",
            find: "    for no key update\n),\n\ndecision as materialized (\n",
            replace: "),\n\ndecision as materialized (\n",
        }],
        schema: &[TOTAL_UNCHECKED, VERSION_UNCHECKED],
        scenario: "burst",
        ..BATCH
    },
    Mutant {
        name: "batch_ignores_keys",
        kind: Kind::KeyIgnored,
        told: "A batch does not look for earlier reservations under the same keys.",
        edits: &[Edit {
            statement: "reserve_batch",
            find: "        where reservations.idempotency_key = calls.idempotency_key\n",
            replace: "        where false\n",
        }],
        schema: &[KEY_UNCHECKED],
        scenario: "lost_answer",
        with_database: &["expectation"],
        ..BATCH
    },
    Mutant {
        name: "settle_without_recheck",
        kind: Kind::ConfirmWithoutStateCheck,
        told: "A batch of confirms and cancels does not look again at holds that ended while it waited.",
        edits: &[Edit { statement: "settle_batch", find: RECHECK, replace: "" }],
        schema: &[END_UNCHECKED, STATUS_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "cancel_confirm",
        ..BATCH
    },
    Mutant {
        name: "settle_counts_repeats",
        kind: Kind::DoubleCancel,
        told: "A hold that stands in a batch twice is given back twice.",
        edits: &[Edit {
            statement: "settle_batch",
            find: "            count(*) as count\n        from ended_reservations\n        group by item_id\n",
            replace: "            count(distinct ended_reservations.id) as count
        from ended_reservations
        join calls on calls.reservation_id = ended_reservations.id
        group by item_id\n",
        }],
        schema: &[TOTAL_UNCHECKED],
        scenario: "cancel_cancel",
        ..BATCH
    },
    Mutant {
        name: "settle_releases_the_expired",
        kind: Kind::SweepTwice,
        told: "A batch gives back the units of a hold that is EXPIRED already.",
        edits: &[
            Edit {
                statement: "settle_batch",
                find: SEEN_PENDING,
                replace: "    where seen_reservations.status in ('PENDING', 'EXPIRED')\n",
            },
            Edit {
                statement: "settle_batch",
                find: RECHECK,
                replace: "    and decisions.status in ('PENDING', 'EXPIRED')\n",
            },
        ],
        schema: &[END_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "confirm_cancel_expire",
        over_http: &["lifecycle", "expectation"],
        ..BATCH
    },
    Mutant {
        name: "settle_ignores_expiry",
        kind: Kind::ConfirmIgnoresExpiry,
        told: "A batch of confirms and cancels does not look at deadlines.",
        edits: &[Edit {
            statement: "settle_batch",
            find: "            when locked_reservations.expires_at <= reading.clock then 'EXPIRED'\n",
            replace: "",
        }],
        schema: &[STATUS_UNCHECKED],
        scenario: "confirm_expire",
        over_http: &["lifecycle", "expectation"],
        ..BATCH
    },
    Mutant {
        name: "settle_takes_no_lock",
        kind: Kind::LockNotTaken,
        told: "A batch of confirms and cancels locks the holds and not their items, and writes back the counters it read.",
        edits: &[Edit {
            statement: "settle_batch",
            find: "    order by items.id\n    for no key update\n),\n",
            replace: "    order by items.id\n),\n",
        }],
        schema: &[VERSION_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "reserve_cancel",
        ..BATCH
    },
];
