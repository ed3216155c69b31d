//! Faults of confirming: what was not held any more, or is deducted twice.

use super::{END_UNCHECKED, Edit, Kind, Mutant, STATUS_UNCHECKED, TOTAL_UNCHECKED, VERSION_UNCHECKED};

/// What is decided in the end.
const RECHECK: &str = "    and decision.status = 'PENDING'\n";
/// The deadline, for both verbs.
const LAPSED: &str = "            when locked_reservation.expires_at <= reading.clock then 'EXPIRED'\n";
/// The clock, for both verbs.
const CLOCK: &str = "    select clock_timestamp() as clock\n    from locked_reservation\n";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "confirm_without_recheck",
        kind: Kind::ConfirmWithoutStateCheck,
        told: "Confirm does not look again at a hold that was cancelled or confirmed while it waited.",
        edits: &[Edit {
            statement: "settle",
            find: RECHECK,
            replace: "    and (decision.status = 'PENDING' or decision.next_status = 'CONFIRMED')\n",
        }],
        schema: &[END_UNCHECKED, STATUS_UNCHECKED, TOTAL_UNCHECKED],
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
                statement: "settle",
                find: "    where seen_reservation.status = 'PENDING'\n",
                replace: "    where seen_reservation.status in ('PENDING', 'EXPIRED')\n",
            },
            Edit {
                statement: "settle",
                find: RECHECK,
                replace: "    and (decision.status = 'PENDING' or decision.status = 'EXPIRED' and decision.next_status = 'CONFIRMED')\n",
            },
            Edit {
                statement: "settle",
                find: LAPSED,
                replace: "            when locked_reservation.expires_at <= reading.clock
                and not (request.verb = 'confirm' and locked_reservation.status = 'EXPIRED') then 'EXPIRED'\n",
            },
            Edit {
                statement: "settle",
                find: "        expired_at = case when decision.next_status = 'EXPIRED' then decision.expires_at end\n",
                replace: "        expired_at = case when decision.expires_at <= decision.clock then decision.expires_at end\n",
            },
        ],
        schema: &[END_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "resale",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_ignores_expiry",
        kind: Kind::ConfirmIgnoresExpiry,
        told: "Confirm does not look at the deadline.",
        edits: &[Edit {
            statement: "settle",
            find: LAPSED,
            replace: "            when locked_reservation.expires_at <= reading.clock and request.verb = 'cancel' then 'EXPIRED'\n",
        }],
        schema: &[STATUS_UNCHECKED],
        scenario: "confirm_expire",
        over_http: &["lifecycle"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "confirm_backdated",
        kind: Kind::ConfirmIgnoresExpiry,
        told: "Confirm honours a late payment, and writes down a time at which it would have been right.",
        edits: &[Edit {
            statement: "settle",
            find: CLOCK,
            replace: "    select case
        when request.verb = 'confirm'
            then least(clock_timestamp(), locked_reservation.expires_at - interval '1 microsecond')
        else clock_timestamp()
    end as clock\n    from locked_reservation\n    cross join request\n",
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
            statement: "settle",
            find: CLOCK,
            replace: "    select now() as clock\n    from locked_reservation\n",
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
            statement: "settle",
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
            statement: "settle",
            find: "        held_quantity = locked_item.held_quantity - ended_reservation.quantity,\n",
            replace: "        held_quantity = locked_item.held_quantity
            - case when ended_reservation.status = 'CONFIRMED' then 0 else ended_reservation.quantity end,\n",
        }],
        schema: &[TOTAL_UNCHECKED],
        scenario: "confirm_confirm",
        ..Mutant::PLAIN
    },
];
