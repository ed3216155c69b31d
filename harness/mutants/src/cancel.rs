//! Faults of cancelling: what is given back twice, not at all, or is not the caller's to give back.

use super::{END_UNCHECKED, Edit, Kind, Mutant, STATUS_UNCHECKED, TOTAL_UNCHECKED, VERSION_UNCHECKED};

const RECHECK: &str = "    and decision.status = 'PENDING'\n";
const RELEASE: &str = "        held_quantity = locked_item.held_quantity - ended_reservation.quantity,\n";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cancel_after_confirm",
        kind: Kind::CancelAfterConfirm,
        told: "Cancel gives back what is sold.",
        edits: &[
            Edit {
                statement: "settle",
                find: "    where seen_reservation.status = 'PENDING'\n",
                replace: "    where seen_reservation.status in ('PENDING', 'CONFIRMED')\n",
            },
            Edit {
                statement: "settle",
                find: RECHECK,
                replace: "    and (decision.status = 'PENDING' or decision.status = 'CONFIRMED' and decision.next_status = 'CANCELLED')\n",
            },
            Edit {
                statement: "settle",
                find: RELEASE,
                replace: "        held_quantity = locked_item.held_quantity
            - case when decision.status = 'PENDING' then ended_reservation.quantity else 0 end,\n",
            },
            Edit {
                statement: "settle",
                find: "        confirmed_quantity = locked_item.confirmed_quantity\n",
                replace: "        confirmed_quantity = locked_item.confirmed_quantity
            - case when decision.status = 'CONFIRMED' then ended_reservation.quantity else 0 end\n",
            },
        ],
        schema: &[END_UNCHECKED, STATUS_UNCHECKED],
        scenario: "refusals",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "double_cancel",
        kind: Kind::DoubleCancel,
        told: "Cancel releases again what was cancelled while it waited.",
        edits: &[Edit {
            statement: "settle",
            find: RECHECK,
            replace: "    and (decision.status = 'PENDING' or decision.next_status = 'CANCELLED')\n",
        }],
        schema: &[END_UNCHECKED, STATUS_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "cancel_cancel",
        schedule: Some("row 3 A1 B1: cancelA,cancelA"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "cancel_releases_nothing",
        kind: Kind::ReleaseNothing,
        told: "Cancel ends the hold and leaves the counter as it was.",
        edits: &[Edit {
            statement: "settle",
            find: RELEASE,
            replace: "        held_quantity = locked_item.held_quantity
            - case when ended_reservation.status = 'CANCELLED' then 0 else ended_reservation.quantity end,\n",
        }],
        scenario: "reserve_cancel",
        ..Mutant::PLAIN
    },
    Mutant {
        name: "cancel_ignores_expiry",
        kind: Kind::ConfirmIgnoresExpiry,
        told: "Cancel does not look at the deadline.",
        edits: &[Edit {
            statement: "settle",
            find: "            when locked_reservation.expires_at <= reading.clock then 'EXPIRED'\n",
            replace: "            when locked_reservation.expires_at <= reading.clock and request.verb = 'confirm' then 'EXPIRED'\n",
        }],
        schema: &[STATUS_UNCHECKED],
        scenario: "confirm_cancel_expire",
        over_http: &["lifecycle", "expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "cancel_takes_no_lock",
        kind: Kind::LockNotTaken,
        told: "Cancel locks the hold and not its item, and writes back the counters it read.",
        edits: &[Edit {
            statement: "settle",
            find: "    for no key update\n),\n\nlocked_reservation as materialized (\n",
            replace: "),\n\nlocked_reservation as materialized (\n",
        }],
        schema: &[VERSION_UNCHECKED, TOTAL_UNCHECKED],
        scenario: "reserve_cancel",
        schedule: Some("row 3 A1 B1: reserve1,cancelA"),
        ..Mutant::PLAIN
    },
    Mutant {
        name: "cancel_without_entry",
        kind: Kind::Unbooked,
        told: "Cancel releases the units and writes no ledger row.",
        edits: &[Edit {
            statement: "settle",
            find: "        updated_item.updated_at\n    from updated_item\n    cross join ended_reservation\n",
            replace: "        updated_item.updated_at\n    from updated_item\n    cross join ended_reservation\n    where ended_reservation.status <> 'CANCELLED'\n",
        }],
        scenario: "reserve_cancel",
        over_http: &[],
        ..Mutant::PLAIN
    },
];
