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

/// Which check found a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A scenario's own expectation.
    Expectation,
    /// One answer against what was asked, and ids against the calls that made them.
    Answers,
    /// One hold's life: made once, ended once, not after its deadline.
    Lifecycle,
    /// The units certainly and possibly taken at every instant.
    Occupancy,
    /// The search for an order of the calls that explains every answer.
    Search,
    /// Reads during a race.
    Sampler,
    /// The service's books against themselves.
    Books,
    /// The service's books against the answers.
    Ledger,
    /// Every committed state, replayed from the database's log.
    Log,
}

impl Layer {
    /// All of them, in the order in which a report lists them.
    pub const ALL: [Layer; 9] = [
        Layer::Expectation,
        Layer::Answers,
        Layer::Lifecycle,
        Layer::Occupancy,
        Layer::Search,
        Layer::Sampler,
        Layer::Books,
        Layer::Ledger,
        Layer::Log,
    ];

    /// The word that tables, JSON and reports use.
    pub fn word(self) -> &'static str {
        match self {
            Layer::Expectation => "expectation",
            Layer::Answers => "answers",
            Layer::Lifecycle => "lifecycle",
            Layer::Occupancy => "occupancy",
            Layer::Search => "search",
            Layer::Sampler => "sampler",
            Layer::Books => "books",
            Layer::Ledger => "ledger",
            Layer::Log => "log",
        }
    }

    /// What a finding of this layer means, for a reader of a report.
    pub fn told(self) -> &'static str {
        match self {
            Layer::Expectation => "what the scenario can state exactly, whatever the order was",
            Layer::Answers => "one answer contradicts what was asked, or names an id that no call made",
            Layer::Lifecycle => "one hold ended twice, or after its deadline, or without a call",
            Layer::Occupancy => "what callers were certainly promised, added up",
            Layer::Search => "no order of the calls explains every answer",
            Layer::Sampler => "a read that no state explains",
            Layer::Books => "the rows and the ledger do not add up",
            Layer::Ledger => "the ledger tells another story than the answers",
            Layer::Log => "a committed state breaks the invariant",
        }
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.word())
    }
}

/// What a violation breaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// More units were promised than there are.
    SoldTwice,
    /// Units came back that were not given back, or came back twice.
    GivenBackTwice,
    /// After a fault on purpose, what was acknowledged is gone.
    LosesWhatItAcknowledged,
    /// A call was refused although the units were free.
    RefusedAlthoughFree,
    /// After a fault on purpose, the service does not answer again by itself.
    DoesNotRecover,
    /// A read shows a state that never was.
    ShowsWhatNeverWas,
    /// An answer that the contract forbids.
    AnsweredWhatIsForbidden,
}

impl Breach {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Breach::SoldTwice => "sold twice",
            Breach::GivenBackTwice => "given back twice",
            Breach::RefusedAlthoughFree => "refused although free",
            Breach::ShowsWhatNeverWas => "shows what never was",
            Breach::AnsweredWhatIsForbidden => "answered what the contract forbids",
            Breach::LosesWhatItAcknowledged => "loses what it acknowledged",
            Breach::DoesNotRecover => "does not recover",
        }
    }

    /// Whether a scenario goes on after it, so that it is learnt whether the writes hold.
    pub fn leaves_the_writes_open(self) -> bool {
        matches!(self, Breach::ShowsWhatNeverWas | Breach::AnsweredWhatIsForbidden)
    }
}

/// One unmet expectation: what it was, when, and the calls that show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// One sentence with the numbers in it.
    pub what: String,
    /// What was breached.
    pub breach: Breach,
    /// Which check found it.
    pub layer: Layer,
    /// The instant on the history's clock, where there is one.
    pub instant_ns: Option<u64>,
    /// The calls that show it, by id.
    pub calls: Vec<u64>,
}

impl Violation {
    /// A violation with no instant and no calls yet.
    pub fn new(layer: Layer, breach: Breach, what: impl Into<String>) -> Self {
        Violation { what: what.into(), breach, layer, instant_ns: None, calls: Vec::new() }
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

/// What one item's search concludes.
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
