//! Faults of confirming a lapsed hold after all: its units are taken although they are gone, or are taken twice.

use super::{Edit, Kind, Mutant, TOTAL_UNCHECKED, VERSION_UNCHECKED};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "reacquire_without_room",
        kind: Kind::OldRead,
        told: "A late confirm looks whether its units are free, waits for the item, and does not look again.",
        edits: &[Edit {
            statement: "reacquire",
            find: "    and decision.quantity <= decision.free_quantity + released.quantity\n",
            replace: "",
        }],
        schema: &[TOTAL_UNCHECKED],
        scenario: "late_confirm",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "reacquire_twice",
        kind: Kind::ConfirmWithoutStateCheck,
        told: "A late confirm takes its units again when another one took them while it waited.",
        edits: &[Edit { statement: "reacquire", find: "    and decision.status = 'EXPIRED'\n", replace: "" }],
        schema: &["drop index stockhold.ledger_reacquired_once"],
        scenario: "late_confirm",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "reacquire_takes_no_lock",
        kind: Kind::LockNotTaken,
        told: "A late confirm locks the reservation and not its item, and writes back the counters it read.",
        edits: &[Edit {
            statement: "reacquire",
            find: "    for no key update\n),\n\nlocked_reservation as materialized (\n",
            replace: "),\n\nlocked_reservation as materialized (\n",
        }],
        schema: &[TOTAL_UNCHECKED, VERSION_UNCHECKED],
        scenario: "late_confirm",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "reacquire_counts_nothing",
        kind: Kind::ReleaseNothing,
        told: "A late confirm sells the hold and leaves the counters as they were.",
        edits: &[Edit {
            statement: "reacquire",
            find: "        confirmed_quantity = decision.item_confirmed_quantity + change.confirmed_change,\n",
            replace: "        confirmed_quantity = decision.item_confirmed_quantity,\n",
        }],
        scenario: "late_confirm",
        ..Mutant::PLAIN
    },
];
