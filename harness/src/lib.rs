//! Races an inventory reservation API over HTTP and says, with evidence, whether it ever oversold, deducted twice or
//! released twice.
//!
//! Reading order: [`history`] (what a call and its outcome are), [`connection`], [`http2`], [`client`] and [`target`]
//! (how calls leave together), [`hold`] and [`round`] (what is known, and the quiet end in which it must add up), [`scenario`]
//! (the races themselves), [`books`] and [`sampler`] (the database as a witness), [`race`](mod@race) (all of it, in
//! rounds), [`explorer`] (the same calls in every order, behind gates), [`telling`] (a failure for a person), [`drawing`]
//! and [`report`] (a run for a browser and a CI), [`mutants`] (our own service with faults in it, each of which must be
//! found). [`bench`] measures, and shares only the connection with the rest.
//!
//! Nothing here is taken from the service: a second opinion must not share its bugs.
//!

#![doc = include_str!("../README.md")]

mod again;
pub mod answers;
pub mod bench;
pub mod books;
pub mod checker;
pub mod client;
pub mod connection;
pub mod control;
pub mod dam;
pub mod dialect;
pub mod drawing;
pub mod exit_code;
pub mod explorer;
pub mod gate;
pub mod history;
pub mod hold;
pub mod http2;
pub mod interrupt;
pub mod latency;
pub mod model;
pub mod mutants;
pub mod offline;
pub mod probe;
mod quiet;
pub mod race;
mod reasons;
pub mod report;
pub mod round;
pub mod sampler;
pub mod scenario;
pub mod schedule;
pub mod seed;
pub mod target;
pub mod telling;
pub mod terminal;
pub mod verdict;
pub mod witness;

pub use race::race;
