//! One race: a file whose head says it in words and draws it, and an expectation that no schedule can change.

use futures::future::BoxFuture;

use crate::drive::{findings::Halt, round::Round};

/// One race and its expectation.
pub struct Scenario {
    /// What the command line, the report and the history call it.
    pub name: &'static str,
    /// Its own source, whose head `list` prints.
    pub source: &'static str,
    /// Rounds, unless the caller says otherwise.
    pub rounds: u32,
    /// Whether a hold must lapse within the race.
    pub needs_deadline: bool,
    /// Whether repeats must be recognised by their `Idempotency-Key`.
    pub needs_key: bool,
    /// Whether a lapsed hold can be confirmed after all.
    pub needs_late_confirm: bool,
    /// What must be seen at least once, or the race did not take place.
    pub must_see: &'static [&'static str],
    /// Calls that must be under way at once in at least one round, or nothing was raced.
    pub overlap_min: usize,
    /// Plays one round.
    pub play: for<'r> fn(&'r mut Round) -> BoxFuture<'r, Result<(), Halt>>,
}

impl Scenario {
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
