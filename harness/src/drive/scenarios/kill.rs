//! An instance is killed while 80 customers reserve, and again while their holds are confirmed and cancelled; it is started
//! again at the same port.
//!
//! ```text
//! instance 1 |--reserve-->  201      |--reserve-->  (no answer)   | started |--reserve, the same key-->
//! instance 2 |--reserve-->  201      |--reserve-->  201           |  again  |--reserve-->
//!                           instance 1 killed ^
//! ```
//!
//! It answers again. Each acknowledged reservation, confirm and cancel is there once; of the others, each is there at most
//! once.

use crate::{
    drive::{
        nemesis::{self, STRUCK},
        scenario::{Needs, Scenario},
    },
    history::Nemesis,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "kill",
    source: include_str!("kill.rs"),
    rounds: 6,
    needs: Needs { fleet: true, ..Needs::NOTHING },
    exact: false,
    must_see: &[STRUCK],
    overlap_min: 2,
    play: |round| Box::pin(nemesis::play(round, Nemesis::Kill)),
};
