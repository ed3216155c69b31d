//! The operations against a real PostgreSQL: states, replays, interleavings.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../common/mod.rs"]
mod common;

mod batches;
mod cancel;
mod coalesce;
mod confirm;
mod connections;
mod create_item;
mod embedded;
mod expire;
mod isolation;
mod lock_order;
mod pooler;
mod queue;
mod reacquire;
mod reads;
mod reserve;
mod return_units;
mod schema;
mod statements;
