//! What the rounds of a scenario bring to light, and why a round may end early.

use std::collections::{BTreeMap, BTreeSet};

use crate::{check::verdict::Violation, target::client::Spread};

/// Why a round could not be played to its end.
#[derive(Clone, Debug)]
pub enum Halt {
    /// Nobody answers.
    Unreachable(String),
    /// What is wrong before anything is raced.
    PlainPath(String),
    /// The stage could not be set, so nothing was raced: another round may do.
    Spoilt(String),
    /// Too much is unknown to go on.
    Undecided(String),
    /// The deployment limits its callers to less than a race needs.
    Limited(String),
    /// Whoever started the race wants it to end.
    Interrupted,
}

/// What the rounds of a scenario brought to light.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Broken expectations.
    pub violations: Vec<Violation>,
    /// Reasons to be undecided.
    pub undecided: Vec<String>,
    /// How often each answer was given in the races proper.
    pub outcomes: BTreeMap<String, u64>,
    /// Each burst from outside.
    pub spreads: Vec<Spread>,
    /// What was seen of what must be seen.
    pub seen: BTreeSet<&'static str>,
    /// Reads by the samplers: over HTTP, in SQL.
    pub samples: (usize, usize),
    /// Ledger versions audited.
    pub versions: usize,
    /// Committed states replayed from the database's log.
    pub states: usize,
    /// Reads that were only compared with what can have been.
    pub loosely: usize,
}

impl std::fmt::Display for Halt {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Halt::Unreachable(why)
            | Halt::PlainPath(why)
            | Halt::Spoilt(why)
            | Halt::Limited(why)
            | Halt::Undecided(why) => out.write_str(why),
            Halt::Interrupted => out.write_str("interrupted"),
        }
    }
}
