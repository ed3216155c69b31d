//! How to race.

use crate::drive::interrupt::Interrupt;

/// How to race.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds of each scenario; each scenario's own number if none.
    pub rounds: Option<u32>,
    /// Where every choice comes from.
    pub seed: u64,
    /// Part of every item's name.
    pub run: String,
    /// The deployment's database, to be read.
    pub database_url: Option<String>,
    /// A statement that moves a reservation's deadline, for deployments whose callers cannot.
    pub expire_sql: Option<String>,
    /// Whether a scenario that this deployment has no way to play leaves the verdict as it is.
    pub skipping_is_fine: bool,
    /// Only this round, from 1.
    pub only_round: Option<u32>,
    /// Whether every committed state is replayed from the database's log.
    pub witness: bool,
    /// Stops the race before its end.
    pub interrupt: Interrupt,
}

impl Options {
    /// Each scenario's own number of rounds, over HTTP alone.
    pub fn new(seed: u64, run: impl Into<String>) -> Self {
        Options {
            rounds: None,
            seed,
            run: run.into(),
            database_url: None,
            expire_sql: None,
            skipping_is_fine: true,
            only_round: None,
            witness: false,
            interrupt: Interrupt::default(),
        }
    }
}
