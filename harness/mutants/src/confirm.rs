//! Faults of confirming: what was not held any more, or is deducted twice.

use super::{END_UNCHECKED, Edit, Kind, Mutant, STATUS_UNCHECKED, TOTAL_UNCHECKED, VERSION_UNCHECKED, ZERO_UNCHECKED};

const STATUS: &str =
    "        status = case when decision.expires_at > decision.clock then 'CONFIRMED' else 'EXPIRED' end,\n";
const CONFIRMED_AT: &str =
    "        confirmed_at = case when decision.expires_at > decision.clock then decision.clock end,\n";
const EXPIRED_AT: &str =
    "        expired_at = case when decision.expires_at > decision.clock then null else decision.expires_at end\n";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "confirm_without_recheck",
        kind: Kind::ConfirmWithoutStateCheck,
        told: "Confirm does not look again at a hold that was cancelled or confirmed while it waited.",
        edits: &[Edit { statement: "confirm", find: "    and decision.status = 'PENDING'\n", replace: "" }],
        schema: &[END_UNCHECKED, STATUS_UNCHECKED, ZERO_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "cancel_confirm",
        schedule: Some("row 3 A1 B1: cancelA,confirmA"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_revives_the_expired",
        kind: Kind::ConfirmWithoutStateCheck,
        told: "Confirm takes an EXPIRED hold for a live one.",
        edits: &[
            Edit {
                statement: "confirm",
                find: "    where seen_reservation.status = 'PENDING'\n",
                replace: "    where seen_reservation.status in ('PENDING', 'EXPIRED')\n",
            },
            Edit {
                statement: "confirm",
                find: "    and decision.status = 'PENDING'\n",
                replace: "    and decision.status in ('PENDING', 'EXPIRED')\n",
            },
            Edit {
                statement: "confirm",
                find: STATUS,
                replace: "        status = case when decision.status = 'EXPIRED' or decision.expires_at > decision.clock
            then 'CONFIRMED' else 'EXPIRED' end,\n",
            },
            Edit {
                statement: "confirm",
                find: CONFIRMED_AT,
                replace: "        confirmed_at = case when decision.status = 'EXPIRED' or decision.expires_at > decision.clock
            then decision.clock end,\n",
            },
        ],
        schema: &[END_UNCHECKED, ZERO_UNCHECKED],
        scenario: "resale",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_ignores_expiry",
        kind: Kind::ConfirmIgnoresExpiry,
        told: "Confirm does not look at the deadline.",
        edits: &[
            Edit {
                statement: "confirm",
                find: STATUS,
                replace: "        status = case when true then 'CONFIRMED' else 'EXPIRED' end,\n",
            },
            Edit { statement: "confirm", find: CONFIRMED_AT, replace: "        confirmed_at = decision.clock,\n" },
            Edit { statement: "confirm", find: EXPIRED_AT, replace: "        expired_at = null\n" },
        ],
        schema: &["alter table stockhold.reservations drop constraint reservation_confirmed_before_deadline"],
        scenario: "confirm_expire",
        over_http: &["lifecycle"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_backdated",
        kind: Kind::ConfirmIgnoresExpiry,
        told: "Confirm honours a late payment, and writes down a time at which it would have been right.",
        edits: &[Edit {
            statement: "confirm",
            find: "        clock_timestamp() as clock\n",
            replace: "        least(clock_timestamp(), locked_reservation.expires_at - interval '1 microsecond') as clock\n",
        }],
        scenario: "confirm_expire",
        over_http: &["lifecycle", "expectation"],
        with_database: &["expectation", "books"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_clock_before_the_lock",
        kind: Kind::StaleNow,
        told: "Confirm compares the deadline with `now()`, which is older than its wait for the item.",
        edits: &[Edit {
            statement: "confirm",
            find: "        clock_timestamp() as clock\n",
            replace: "        now() as clock\n",
        }],
        scenario: "confirm_confirm",
        over_http: &[],
        schedule: Some("row 3 A1 B1: reserve1,confirmA"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_takes_no_lock",
        kind: Kind::LockNotTaken,
        told: "Confirm locks the hold and not its item, and writes back the counters it read.",
        edits: &[Edit {
            statement: "confirm",
            find: "    for no key update\n),\n\nlocked_reservation as materialized (\n",
            replace: "),\n\nlocked_reservation as materialized (\n",
        }],
        schema: &[VERSION_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "confirm_confirm",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_keeps_the_units_held",
        kind: Kind::ReleaseNothing,
        told: "Confirm deducts the units and goes on counting them as held.",
        edits: &[Edit {
            statement: "confirm",
            find: "        held_quantity = locked_item.held_quantity - ended_reservation.quantity,\n",
            replace: "        held_quantity = locked_item.held_quantity,\n",
        }],
        schema: &[TOTAL_UNCHECKED],
        scenario: "confirm_confirm",
        ..Mutant::PLAIN
    },
];
