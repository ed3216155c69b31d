//! The three verdicts, and what a broken one has to say for itself.

use serde::{Deserialize, Serialize};

/// What a check concludes. The order is the order of gravity: the worst of several is their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every expectation was met.
    Held,
    /// Too little was seen, or too much stayed unknown, to say either.
    Undecided,
    /// An expectation that no schedule can excuse was not met.
    Broken,
}

impl Verdict {
    /// The word a person reads.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Undecided => "undecided",
            Verdict::Broken => "broken",
        }
    }
}

/// One unmet expectation: what it was, when, and the calls that show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// One sentence with the numbers in it.
    pub what: String,
    /// Which check found it: `expectation`, `sampler`, `books`, `sweep`, `search`, `replay`.
    pub layer: String,
    /// The instant on the history's clock, where there is one.
    pub instant_ns: Option<u64>,
    /// The calls that show it, by id.
    pub calls: Vec<u64>,
}

impl Violation {
    /// A violation with no instant and no calls yet.
    pub fn new(layer: &str, what: impl Into<String>) -> Self {
        Violation { what: what.into(), layer: layer.to_owned(), instant_ns: None, calls: Vec::new() }
    }

    /// Says when.
    #[must_use]
    pub fn at(mut self, instant_ns: u64) -> Self {
        self.instant_ns = Some(instant_ns);
        self
    }

    /// Says which calls show it.
    #[must_use]
    pub fn shown_by(mut self, calls: impl IntoIterator<Item = u64>) -> Self {
        self.calls.extend(calls);
        self
    }
}

/// What one item's check concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Some order explains every answer.
    Explained,
    /// Some order explains every answer but those of so many reads, which were only compared with what can have been.
    ExplainedBut(usize),
    /// No order does.
    Refuted(Violation),
    /// Neither was shown within the limits.
    Undecided(String),
}

impl PartialEq for Violation {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what && self.calls == other.calls
    }
}

impl Eq for Violation {}
