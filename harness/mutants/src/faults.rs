//! Faults that no race shows, only a failure: of a process, or of a connection.

use super::{Habit, Kind, Mutant};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "retry_takes_twice",
        kind: Kind::RetryTakesTwice,
        told: "A reserve whose answer was lost is sent again under another id, and takes its units twice.",
        habit: Habit::FreshId,
        scenario: "cut",
        over_http: &["search", "occupancy", "expectation"],
        // The answer names the first id, which is not there when the first attempt was lost on its way.
        with_database: &["ledger", "books", "expectation"],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "lease_outlives_holder",
        kind: Kind::LeaseOutlivesHolder,
        told: "Reserve takes a lease without an end; a process that is killed meanwhile never gives it back.",
        habit: Habit::Lease,
        scenario: "kill",
        with_database: &[],
        ..Mutant::PLAIN
    },
    Mutant {
        name: "pool_never_heals",
        kind: Kind::NeverHeals,
        told: "After a connection broke, the pool opens none any more.",
        habit: Habit::NeverHeals,
        scenario: "cut",
        with_database: &[],
        ..Mutant::PLAIN
    },
];
