//! Mutants: our own service with a fault in it, each of which the instrument must find. The service is the real one, two
//! processes of it, on a real database of its own; a fault is planted in the text of its statements on their way there
//! ([`wire`]) and in the schema, from which the constraint that would save the day is taken. So one build serves all
//! mutants, and the service has no hook for them.
//!
//! Reading order: this table's words ([`Mutant`]), the table itself ([`MUTANTS`], by operation), [`deployment`],
//! [`trial`] (what a mutant is put through), [`matrix`] (what came of it).

mod batch;
mod cancel;
mod confirm;
mod create_item;
pub mod deployment;
mod expire;
mod faults;
pub mod gate;
mod late_confirm;
pub mod matrix;
pub mod message;
mod reads;
mod reserve;
mod reserve_habits;
pub mod trial;
pub mod wire;

/// A planted fault, and who must find it.
pub struct Mutant {
    /// What the command line and the matrix call it.
    pub name: &'static str,
    /// Which mistake it is an example of.
    pub kind: Kind,
    /// The fault in one sentence.
    pub told: &'static str,
    /// What is changed in the text of statements.
    pub edits: &'static [Edit],
    /// What is changed in the schema before the race.
    pub schema: &'static [&'static str],
    /// What is wrong beyond any statement's text.
    pub habit: Habit,
    /// Whether calls that wait leave together, in the statements of a batch.
    pub coalescing: bool,
    /// The scenario that must turn red.
    pub scenario: &'static str,
    /// The layer that must find it by what callers are told, or the layers of which one must, where the round decides;
    /// none where no caller can see it.
    pub over_http: &'static [&'static str],
    /// The same where the database may be read too.
    pub with_database: &'static [&'static str],
    /// A schedule behind gates that must turn red as well, each time it is played; none where chance is enough.
    pub schedule: Option<&'static str>,
}

/// A change of one statement.
#[derive(Debug)]
pub struct Edit {
    /// The `.sql` file's name.
    pub statement: &'static str,
    /// What stands in it once.
    pub find: &'static str,
    /// What the service would say instead.
    pub replace: &'static str,
}

/// What a faulty service does around the execution of `reserve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Nothing.
    None,
    /// It answers before it commits, and every so many times it does not commit.
    Forget {
        /// How many executions there are to one that is forgotten.
        every: usize,
    },
    /// A mutex in the memory of each process lets one execution run at a time.
    Mutex,
    /// A lease that all processes share lets one execution run at a time, and is never given back by one that breaks.
    Lease,
    /// Each time the statement is sent, it makes a reservation of another id.
    FreshId,
    /// When a connection broke under a statement, none is opened any more.
    NeverHeals,
    /// It looks again after the answer, and repairs what it did.
    Repair {
        /// How.
        sql: &'static str,
    },
}

impl Habit {
    /// The statement it is about: the one that grants where the habit's mutant is raced.
    fn statement(self) -> &'static str {
        match self {
            Habit::Mutex | Habit::Repair { .. } => "reserve_batch",
            Habit::None | Habit::Forget { .. } | Habit::Lease | Habit::FreshId | Habit::NeverHeals => "reserve",
        }
    }
}

/// A mistake that real services make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`word` says each in words")]
pub enum Kind {
    ReadModifyWrite,
    CountThenInsert,
    SharedTwice,
    OffByOne,
    ConfirmWithoutStateCheck,
    ConfirmIgnoresExpiry,
    StaleNow,
    BlindSweep,
    SweepTwice,
    CancelAfterConfirm,
    DoubleCancel,
    ReleaseNothing,
    KeyIgnored,
    SuccessThenRollback,
    SpikeRepaired,
    BooksInStep,
    Unbooked,
    FalseRefusal,
    OldRead,
    LockNotTaken,
    MutexInMemory,
    LeaseOutlivesHolder,
    RetryTakesTwice,
    NeverHeals,
}

impl Kind {
    /// The kind as a person reads it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::ReadModifyWrite => "read-modify-write",
            Kind::CountThenInsert => "count then insert",
            Kind::SharedTwice => "shared out twice",
            Kind::OffByOne => "off by one",
            Kind::ConfirmWithoutStateCheck => "confirm without state check",
            Kind::ConfirmIgnoresExpiry => "confirm that ignores expiry",
            Kind::StaleNow => "stale now()",
            Kind::BlindSweep => "sweep that releases blindly",
            Kind::SweepTwice => "sweep twice",
            Kind::CancelAfterConfirm => "cancel after confirm",
            Kind::DoubleCancel => "double cancel",
            Kind::ReleaseNothing => "release nothing",
            Kind::KeyIgnored => "key ignored",
            Kind::SuccessThenRollback => "success, then rolled back",
            Kind::SpikeRepaired => "a spike repaired",
            Kind::BooksInStep => "books doubled in step",
            Kind::Unbooked => "a change without its entry",
            Kind::FalseRefusal => "false refusal",
            Kind::OldRead => "an old read",
            Kind::LockNotTaken => "a lock not taken",
            Kind::MutexInMemory => "a mutex in memory",
            Kind::LeaseOutlivesHolder => "a lease that outlives its holder",
            Kind::RetryTakesTwice => "a retry that takes twice",
            Kind::NeverHeals => "a pool that never heals",
        }
    }
}

impl Mutant {
    /// What most mutants have in common.
    const PLAIN: Mutant = Mutant {
        name: "",
        kind: Kind::ReadModifyWrite,
        told: "",
        edits: &[],
        schema: &[],
        habit: Habit::None,
        coalescing: false,
        scenario: "",
        over_http: &["expectation"],
        with_database: &["books"],
        schedule: None,
    };

    /// No fault at all, through the same wire: what is found in it is a false alarm.
    pub const CLEAN: Mutant = Mutant { name: "clean", told: "The service as it is.", ..Mutant::PLAIN };

    /// The same in the statements of a batch.
    pub const CLEAN_IN_BATCHES: Mutant = Mutant { name: "clean, in batches", coalescing: true, ..Mutant::CLEAN };
}

/// The table: every mutant, operation by operation.
pub const MUTANTS: &[&[Mutant]] = &[
    reserve::MUTANTS,
    reserve_habits::MUTANTS,
    confirm::MUTANTS,
    cancel::MUTANTS,
    expire::MUTANTS,
    reads::MUTANTS,
    batch::MUTANTS,
    late_confirm::MUTANTS,
    create_item::MUTANTS,
    faults::MUTANTS,
];

/// Every mutant of the table.
pub fn all() -> impl Iterator<Item = &'static Mutant> {
    MUTANTS.iter().copied().flatten()
}

/// The first of each kind.
pub fn one_of_each_kind() -> Vec<&'static Mutant> {
    let mut chosen: Vec<&Mutant> = Vec::new();
    for mutant in all() {
        if chosen.iter().all(|other| other.kind != mutant.kind) {
            chosen.push(mutant);
        }
    }
    chosen
}

/// Each statement that a fault may be planted in, and a piece of its code that stands in no other.
const STATEMENTS: &[(&str, &str)] = &[
    ("reserve", "where items.id = queued_request.item_id"),
    ("refuse", "refusing_item as"),
    ("settle", "::text as verb"),
    ("expire", "due_holds as"),
    ("get_item", "    item.version,\n    item.created_at,"),
    ("reserve_batch", "admitted_calls as materialized ("),
    ("settle_batch", "first_calls as materialized ("),
    ("reacquire", "reacquired as ("),
    ("create_item", "created_item as ("),
];

/// Nothing keeps the counters between zero and the total.
const TOTAL_UNCHECKED: &str = "alter table stockhold.items drop constraint item_never_oversold;
    alter table stockhold.ledger drop constraint ledger_never_oversold";
/// Two ledger rows may have one version.
const VERSION_UNCHECKED: &str = "alter table stockhold.ledger drop constraint ledger_one_row_per_version;
    create index on stockhold.ledger (item_id, version)";
/// A hold may end more than once.
const END_UNCHECKED: &str = "drop index stockhold.ledger_hold_ends_once";
/// A status may contradict the times and the quantities beside it.
const STATUS_UNCHECKED: &str =
    "alter table stockhold.reservations drop constraint reservation_status_agrees_with_times;
    alter table stockhold.reservations drop constraint reservation_returns_no_more_than_was_sold";
/// A key may be used twice.
const KEY_UNCHECKED: &str = "drop index stockhold.reservation_idempotency_key_unique;
    create index on stockhold.reservations (idempotency_key)";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use stockhold_harness::internal::drive::find;

    /// Every statement's text, by the name of its file.
    fn statements() -> BTreeMap<String, String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../lib/src/ops");
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
            .map(|path| {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_mark_stands_in_its_own_statement_alone() {
        for (name, mark) in STATEMENTS {
            let marked: Vec<String> =
                statements().into_iter().filter(|(_, sql)| sql.contains(mark)).map(|(name, _)| name).collect();
            assert_eq!(marked, [*name], "{mark}");
        }
    }

    #[test]
    fn every_edit_changes_one_place_of_a_statement_that_is_marked() {
        let statements = statements();
        for mutant in all() {
            for Edit { statement, find, replace } in mutant.edits {
                let sql = &statements[*statement];
                assert!(STATEMENTS.iter().any(|(name, _)| name == statement), "{}: {statement}", mutant.name);
                assert_eq!(sql.matches(find).count(), 1, "{}: {find}", mutant.name);
                assert_ne!(find, replace, "{}", mutant.name);
                // A statement may also travel without its comments.
                assert!(!find.contains("--"), "{}", mutant.name);
                let marks = STATEMENTS.iter().filter(|(_, mark)| sql.replacen(find, replace, 1).contains(mark));
                assert_eq!(marks.count(), 1, "{}: the changed statement is known no more", mutant.name);
            }
        }
    }

    #[test]
    fn every_constraint_taken_away_exists() {
        let migration = include_str!("../../../migrations/0001_stockhold.sql");
        for sql in all().flat_map(|mutant| mutant.schema) {
            let names = sql.split("constraint ").skip(1).chain(sql.split("drop index stockhold.").skip(1));
            for name in names.map(|rest| rest.split([';', '\n']).next().unwrap()) {
                assert!(migration.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn every_mutant_has_a_name_of_its_own_and_a_fault() {
        assert!(all().count() >= 25);
        for mutant in all() {
            assert_eq!(all().filter(|other| other.name == mutant.name).count(), 1, "{}", mutant.name);
            assert!(mutant.told.ends_with('.'), "{}", mutant.name);
            assert!(find(mutant.scenario).is_some(), "{}: {}", mutant.name, mutant.scenario);
            let schedule = mutant.schedule.map(stockhold_harness::internal::drive::Schedule::parse).transpose();
            assert!(schedule.is_ok(), "{}: {schedule:?}", mutant.name);
            assert!(!mutant.edits.is_empty() || mutant.habit != Habit::None, "{}", mutant.name);
        }
    }

    #[test]
    fn one_of_each_kind_is_chosen() {
        let kinds: Vec<&str> = one_of_each_kind().iter().map(|mutant| mutant.kind.word()).collect();
        assert_eq!(kinds.len(), 24, "{kinds:?}");
    }
}
