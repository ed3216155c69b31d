//! How to race.

use std::{sync::Arc, time::Duration};

use crate::{database::gate::Tables, drive::interrupt::Interrupt, target::fleet::Fleet};

/// A service may take so long to answer again after a fault on purpose, unless the caller says otherwise.
const RECOVERY: Duration = Duration::from_secs(30);

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
    /// A statement that makes items, for deployments whose API creates none, and the items it may use.
    pub stage: Option<(String, Vec<String>)>,
    /// Whether the scenarios were asked for by name: then one that cannot be played here leaves the run undecided even
    /// where it goes beyond the assignment.
    pub asked_by_name: bool,
    /// Scenarios that need not be played.
    pub without: Vec<String>,
    /// Where the deployment keeps its rows: then schedules of calls that meet a deadline are played behind gates, too.
    pub tables: Option<Tables>,
    /// Further flags of the command that plays a round again, quoted for a shell.
    pub replay_flags: Vec<String>,
    /// Whether each departure from the assignment counts as broken.
    pub strict: bool,
    /// Only this round, from 1.
    pub only_round: Option<u32>,
    /// Whether every committed state is replayed from the database's log.
    pub witness: bool,
    /// The instances, where the harness started them itself and may make them fail.
    pub fleet: Option<Arc<Fleet>>,
    /// How long an instance may take to answer again after a fault on purpose.
    pub recovery: Duration,
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
            stage: None,
            asked_by_name: false,
            without: Vec::new(),
            tables: None,
            replay_flags: Vec::new(),
            strict: false,
            only_round: None,
            witness: false,
            fleet: None,
            recovery: RECOVERY,
            interrupt: Interrupt::default(),
        }
    }
}
