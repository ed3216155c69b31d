//! An instance is stopped for 1.2 seconds while 80 customers reserve, and again while their holds are confirmed and
//! cancelled. It was in the middle of something, and goes on with it when other instances have gone on without it.
//!
//! ```text
//! instance 1 |--reserve-->    stopped ……………………………………  goes on  -->  201
//! instance 2 |--reserve-->  201  |--reserve-->  201  |
//! ```
//!
//! Each acknowledged reservation, confirm and cancel is there once; of the others, each is there at most once.

use crate::{
    drive::{
        nemesis::{self, STRUCK},
        scenario::{Needs, Scenario},
    },
    history::Nemesis,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pause",
    source: include_str!("pause.rs"),
    rounds: 4,
    needs: Needs { fleet: true, ..Needs::NOTHING },
    exact: false,
    must_see: &[STRUCK],
    overlap_min: 2,
    play: |round| Box::pin(nemesis::play(round, Nemesis::Pause)),
};
