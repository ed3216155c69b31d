//! The scenarios: each a file whose head says its race in words and draws it, each with an expectation that no schedule
//! can change.

use crate::drive::scenario::Scenario;

mod availability;
mod burst;
mod cancel_cancel;
mod cancel_confirm;
mod confirm_cancel_expire;
mod confirm_confirm;
mod confirm_deadline;
mod confirm_expire;
mod cut;
mod delay;
mod kill;
mod last_unit;
mod late_confirm;
mod limits;
mod lost_answer;
mod mixed_quantities;
mod pause;
mod refusals;
mod repeats;
mod resale;
mod reserve_cancel;
mod sweeps;
mod walk;

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

/// Those in which something is made to fail on purpose: for services that the harness started itself.
pub const NEMESES: &[Scenario] = &[kill::SCENARIO, pause::SCENARIO, cut::SCENARIO, delay::SCENARIO];

/// Every scenario there is.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().chain(NEMESES)
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_told_and_drawn_and_named_once() {
        for scenario in all() {
            let told = scenario.told();
            assert!(told.lines().count() >= 4, "{} says too little", scenario.name);
            assert!(told.contains("|"), "{} draws nothing", scenario.name);
            let drawing: Vec<_> = scenario.parts().filter(|(drawn, _)| *drawn).collect();
            assert!(drawing.iter().any(|(_, line)| line.contains('|')), "{} draws outside its fence", scenario.name);
            assert_eq!(all().filter(|other| other.name == scenario.name).count(), 1);
        }
    }
}
