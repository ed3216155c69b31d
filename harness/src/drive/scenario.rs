//! One race: a file whose head says it in words and draws it, and an expectation that no schedule can change.

use futures::future::BoxFuture;

use crate::drive::{findings::Halt, round::Round};

/// What a deployment must offer for a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// A hold can be made to lapse within the race.
    pub deadline: bool,
    /// A route that records lapsed holds.
    pub sweep: bool,
    /// Repeats are recognised by their `Idempotency-Key`: beyond the assignment.
    pub key: bool,
    /// A lapsed hold can be confirmed after all: beyond the assignment.
    pub late_confirm: bool,
    /// The harness started the instances itself, and may make them fail.
    pub fleet: bool,
}

impl Needs {
    /// The assignment's five plain endpoints.
    pub const NOTHING: Needs = Needs { deadline: false, sweep: false, key: false, late_confirm: false, fleet: false };
}

/// One race and its expectation.
pub struct Scenario {
    /// What the command line, the report and the history call it.
    pub name: &'static str,
    /// Its own source, whose head `list` prints.
    pub source: &'static str,
    /// Rounds, unless the caller says otherwise.
    pub rounds: u32,
    /// What a deployment must offer for it.
    pub needs: Needs,
    /// Whether every answer is stated, so that an internal error of the service is none of them.
    pub exact: bool,
    /// What must be seen at least once, or the race did not take place.
    pub must_see: &'static [&'static str],
    /// Calls that must be under way at once in at least one round, or nothing was raced.
    pub overlap_min: usize,
    /// Plays one round.
    pub play: for<'r> fn(&'r mut Round) -> BoxFuture<'r, Result<(), Halt>>,
}

impl Scenario {
    /// Whether the assignment asks for nothing of the kind.
    pub fn is_optional(&self) -> bool {
        self.needs.key || self.needs.late_confirm
    }

    /// The race in words and drawn: the head of its file.
    pub fn told(&self) -> String {
        self.parts().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
    }

    /// The same by lines, and whether each belongs to a drawing.
    pub fn parts(&self) -> impl Iterator<Item = (bool, &'static str)> {
        let mut drawn = false;
        self.source
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line))
            .filter_map(move |line| {
                let fence = line.starts_with("```");
                drawn ^= fence;
                (!fence).then_some((drawn, line))
            })
    }
}
