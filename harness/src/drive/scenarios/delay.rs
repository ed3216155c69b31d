//! The database neither hears nor answers for 2.5 seconds, while 80 customers reserve, and again while their holds are
//! confirmed and cancelled. Where the database is not reached through the harness, the instances are.
//!
//! ```text
//! service |--statement-->     frozen ……………………  -->| database
//!         |<----------------  frozen ……………………  <--|
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
    name: "delay",
    source: include_str!("delay.rs"),
    rounds: 3,
    needs: Needs { fleet: true, ..Needs::NOTHING },
    exact: false,
    must_see: &[STRUCK],
    overlap_min: 2,
    play: |round| Box::pin(nemesis::play(round, Nemesis::Delay)),
};
