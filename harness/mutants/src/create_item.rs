//! Faults of creating an item: whoever repeats the call gets another item, and sells its units twice.

use super::{Edit, Kind, Mutant};

const KEY: &str = "    join stockhold.items on items.idempotency_key = request.idempotency_key\n";
const KEY_UNCHECKED: &str = "drop index stockhold.item_idempotency_key_unique;
    create index on stockhold.items (idempotency_key)";

pub(super) const MUTANTS: &[Mutant] = &[Mutant {
    name: "item_key_ignored",
    kind: Kind::KeyIgnored,
    told: "An item is created without a look for an earlier one under the same key.",
    edits: &[Edit { statement: "create_item", find: KEY, replace: "    join stockhold.items on false\n" }],
    schema: &[KEY_UNCHECKED],
    scenario: "lost_answer",
    with_database: &["expectation"],
    ..Mutant::PLAIN
}];
