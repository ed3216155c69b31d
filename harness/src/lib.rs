//! Races an inventory reservation API over HTTP and says, with evidence, whether it ever oversold, deducted twice or
//! released twice.
//!
//! Reading order: [`history`] (what a call and its outcome are), [`connection`], [`client`] and [`target`] (how calls
//! leave together), [`hold`] and [`round`] (what is known, and the quiet end in which it must add up), [`scenario`]
//! (the races themselves), [`books`] and [`sampler`] (the database as a witness), [`race`](mod@race) (all of it, in
//! rounds), [`telling`] (a failure for a person).
//!
//! Nothing here is taken from the service: a second opinion must not share its bugs.
//!

#![doc = include_str!("../README.md")]

mod again;
pub mod answers;
pub mod books;
pub mod checker;
pub mod client;
pub mod connection;
pub mod control;
pub mod dialect;
pub mod exit_code;
pub mod history;
pub mod hold;
pub mod model;
pub mod offline;
pub mod probe;
mod quiet;
pub mod race;
mod reasons;
pub mod report;
pub mod round;
pub mod sampler;
pub mod scenario;
pub mod seed;
pub mod target;
pub mod telling;
pub mod terminal;
pub mod verdict;

pub use race::race;
