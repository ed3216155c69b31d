//! Plays races: rounds and their quiet end, scenarios, schedules behind gates.

pub mod drawing;
pub mod explorer;
pub mod findings;
pub mod hold;
pub mod interrupt;
pub mod kill;
pub mod latency;
pub mod nemesis;
pub mod options;
pub mod quiet;
pub mod race;
pub mod retry;
pub mod round;
pub mod scenario;
pub mod scenarios;
pub mod schedule;
pub mod steering;
pub mod telling;
