//! Answers are lost with their connections while 80 customers reserve, and again while their holds are confirmed and
//! cancelled: on their way from the database to an instance, so that the service does not know what it did, or on their
//! way from an instance to its clients.
//!
//! ```text
//! client     service     database
//!   |--reserve-->|--insert-->|  committed
//!   |            | x <-------|            between service and database, or
//!   | x <--------|<----------|            between client and service
//!   |--reserve, the same key-->           there once
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
    name: "cut",
    source: include_str!("cut.rs"),
    rounds: 10,
    needs: Needs { fleet: true, ..Needs::NOTHING },
    exact: false,
    must_see: &[STRUCK],
    overlap_min: 2,
    play: |round| Box::pin(nemesis::play(round, Nemesis::Cut)),
};
