//! Faults of reading: the rows are right, and what is said of them is not.

use super::{Edit, Kind, Mutant};

const HELD: &str = "    item.held_quantity - lapsed_holds.quantity as held_quantity,\n";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "availability_from_a_cache",
        kind: Kind::OldRead,
        told: "An item says what was held 50 ms ago.",
        edits: &[Edit {
            statement: "get_item",
            find: HELD,
            replace: "    coalesce((
        select ledger.held_quantity
        from stockhold.ledger
        where ledger.item_id = item.id
        and ledger.recorded_at <= reading.clock - interval '50 milliseconds'
        order by ledger.version desc
        limit 1
    ), 0) as held_quantity,\n",
        }],
        scenario: "availability",
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "lapsed_holds_shown_as_held",
        kind: Kind::OldRead,
        told: "An item counts lapsed holds as held until a sweep has run.",
        edits: &[Edit { statement: "get_item", find: HELD, replace: "    item.held_quantity,\n" }],
        scenario: "availability",
        with_database: &["expectation"],
        ..Mutant::PLAIN
    },
];
