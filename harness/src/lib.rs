//! Races an inventory reservation API over HTTP and says, with evidence, whether it ever oversold, deducted twice or
//! released twice.
//!
//! Eight rooms, and each imports only from those below it: `commands` (what a person types), `report` (a run for a
//! browser and a CI), `drive` (rounds, scenarios, schedules), `database` (the deployment's rows, log and locks), `target`
//! (its names and the wires), `control` (a faulty service of our own), `check` (whether a history can be explained) and
//! `history` (calls and their outcomes).
//!
//! `check` and `history` need no runtime, no HTTP and no database: without the default feature `race` they are all there
//! is. Nothing here is taken from the service: a second opinion must not share its bugs.

#![cfg_attr(feature = "race", doc = include_str!("../README.md"))]
// Not `expect`: the compiler takes an item with an expectation of dead code for a living one, and then warns of the expectation.
#![cfg_attr(
    not(feature = "race"),
    allow(dead_code, unused_imports, reason = "a live race records and compares what a file's check only reads")
)]

mod check;
mod history;

#[cfg(feature = "race")]
mod commands;
#[cfg(feature = "race")]
mod control;
#[cfg(feature = "race")]
mod database;
#[cfg(feature = "race")]
mod drive;
#[cfg(feature = "race")]
mod report;
#[cfg(feature = "race")]
mod target;

pub use check::{
    Checked, Limits, check_file,
    verdict::{Breach, Layer, Verdict, Violation},
};
pub use history::{File, Recorder, read};

#[cfg(feature = "race")]
pub use drive::{
    options::Options,
    race::{Observer, RaceResult, Silent, race},
    scenarios::SCENARIOS,
};
#[cfg(feature = "race")]
pub use target::{
    deployment::{Keys, Target},
    dialect::Dialect,
};

/// What the crates beside this one and its own tests need. No part of the public surface: it may change at any time.
#[doc(hidden)]
pub mod internal {
    #[cfg(feature = "race")]
    pub use crate::commands::{deployment::fresh_seed, main};

    pub mod check {
        pub use crate::check::{
            Checked, Limits,
            books::{Counters, Kind, LedgerRow, Page},
            by_item::by_item,
            check, check_file, find_order,
            ledger::replay,
            model::{Act, ItemHistory, Op, States},
            verdict::{Breach, Decision, Layer, Verdict, Violation},
        };
    }

    #[cfg(feature = "race")]
    pub mod control {
        pub use crate::control::{Control, Fault, Odd, OddAnswer, Shape};
    }

    #[cfg(feature = "race")]
    pub mod database {
        pub use crate::database::{
            books::Books,
            gate::{Arrival, Gatehouse, Kind, Tables},
            log::Log,
        };
    }

    #[cfg(feature = "race")]
    pub mod drive {
        pub use crate::drive::{
            explorer::{Explorer, Watcher},
            interrupt::{Interrupt, Stop},
            options::Options,
            race::{Observer, RaceResult, ScenarioResult, Silent, Stopped, race},
            scenario::Scenario,
            scenarios::{NEMESES, SCENARIOS, find},
            schedule::Schedule,
            telling::Failure,
        };
    }

    pub mod history {
        pub use crate::history::{
            Answer, Call, Contract, Event, FORMAT, ItemView, Moved, Nemesis, Outcome, Reason, Recorder, Request,
            ReservationView, Seed, Status, Struck, SweepView, read,
        };
    }

    #[cfg(feature = "race")]
    pub mod report {
        pub use crate::report::{
            exit_code::Exit,
            junit::junit,
            offline::result,
            page::{THEME, html},
            place::{History, Place},
            setting::{Section, Setting},
            summary::{FORMAT, summary},
            text::xml as escaped,
        };
    }

    #[cfg(feature = "race")]
    pub mod target {
        pub use crate::target::{
            client::Crew,
            connection::{Connection, Origin},
            deployment::{Keys, Target},
            dialect::{Dialect, Unit},
            fleet::Fleet,
            mapping::Mapping,
            pace::Pace,
            probe::{Asking, Backstage, Probed, believe, probe},
        };

        pub mod http2 {
            pub use crate::target::http2::{Ask, Connection, End, is_spoken, load};
        }
    }
}
