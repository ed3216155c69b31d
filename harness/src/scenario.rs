//! The scenarios: each a file whose head says its race in words and draws it, each with an expectation that no schedule
//! can change.

use futures::future::BoxFuture;

use crate::round::{Halt, Round};

mod availability;
mod burst;
mod cancel_cancel;
mod cancel_confirm;
mod confirm_cancel_expire;
mod confirm_confirm;
mod confirm_deadline;
mod confirm_expire;
mod last_unit;
mod late_confirm;
mod limits;
mod lost_answer;
mod mixed_quantities;
mod refusals;
mod repeats;
mod resale;
mod reserve_cancel;
mod sweeps;
mod walk;

/// One race and its expectation.
pub struct Scenario {
    /// What the command line, the report and the history call it.
    pub name: &'static str,
    /// Its own source, whose head `list` prints.
    source: &'static str,
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

/// All of them, in the order they are run.
pub const SCENARIOS: &[Scenario] = &[
    burst::SCENARIO,
    last_unit::SCENARIO,
    mixed_quantities::SCENARIO,
    confirm_expire::SCENARIO,
    confirm_deadline::SCENARIO,
    cancel_confirm::SCENARIO,
    confirm_confirm::SCENARIO,
    cancel_cancel::SCENARIO,
    sweeps::SCENARIO,
    reserve_cancel::SCENARIO,
    confirm_cancel_expire::SCENARIO,
    resale::SCENARIO,
    late_confirm::SCENARIO,
    lost_answer::SCENARIO,
    availability::SCENARIO,
    refusals::SCENARIO,
    limits::SCENARIO,
    walk::SCENARIO,
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_told_and_drawn_and_named_once() {
        for scenario in SCENARIOS {
            let told = scenario.told();
            assert!(told.lines().count() >= 4, "{} says too little", scenario.name);
            assert!(told.contains("|"), "{} draws nothing", scenario.name);
            let drawing: Vec<_> = scenario.parts().filter(|(drawn, _)| *drawn).collect();
            assert!(drawing.iter().any(|(_, line)| line.contains('|')), "{} draws outside its fence", scenario.name);
            assert_eq!(SCENARIOS.iter().filter(|other| other.name == scenario.name).count(), 1);
        }
    }
}
