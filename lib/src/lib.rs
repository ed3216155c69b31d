//! Inventory reservations over PostgreSQL that never oversell, under any concurrency.
//!
//! At every committed state, `confirmed + active pending unexpired <= total`. Correctness comes from the database alone:
//! any number of processes may serve at once.
//!
//! # The map
//!
//! ```text
//! PENDING --confirm--> CONFIRMED        deducted for good
//!    |-----cancel----> CANCELLED        given back
//!    '--expires_at---> EXPIRED          given back; a late confirm may take the units anew (REACQUIRED)
//! ```
//!
//! - **One statement.** Each operation is one SQL statement, so no lock is held across a network round trip.
//! - **Lock order.** The places in the items' queues in their order, the items by ascending id, then their reservations.
//!   A statement that changes a reservation holds its item's lock, so two changes of one item never interleave.
//! - **Recheck.** A statement's snapshot is as old as its wait. It decides by the rows it locked (READ COMMITTED gives
//!   their newest version) and by `clock_timestamp()` read after the lock, never by what it saw before.
//! - **Clock.** The database's, alone. A hold is expired from the instant `expires_at <= clock`.
//! - **Waiting.** Calls that must change an item take a place in a queue (an advisory lock of the item's id) before its row,
//!   and calls of one process that wait for one item share one statement (`coalesce.rs`). Both make waiting
//!   cheap, and no decision depends on either.
//! - **Counters and ledger.** `items` carries the counters; every transition writes the counters and one ledger row in
//!   the same statement; check constraints repeat the invariant on both.
//!
//! # Reading order
//!
//! `migrations/0001_stockhold.sql`, [`item`], [`reservation`], [`ledger`], then `ops/reserve.sql` and `ops/settle.sql`
//! with their `.rs`, `ops/reserve_batch.sql`, which answers what the lean `reserve.sql` leaves and many calls at once, and
//! `ops/settle_batch.sql`, which does what `settle.sql` does for many calls, then
//! [`Inventory`]. The HTTP API is behind the feature `http`.
//!
//! # Example
//!
//! ```no_run
//! use stockhold::{Config, Inventory, NewItem, CreateItem};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let inventory = Inventory::connect(&Config::new("postgres://localhost/shop")).await?;
//! inventory.migrate().await?;
//! let new_item = NewItem::new("Ticket".try_into()?, 50.try_into()?);
//! if let CreateItem::Created(item) = inventory.create_item(new_item, None).await? {
//!     println!("{} units of {}", item.available_quantity, item.id);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `cargo run -p stockhold --example shop` runs a longer one.

mod bucket;
mod coalesce;
mod db;
mod error;
mod hints;
#[cfg(feature = "http")]
pub mod http;
mod instant;
mod inventory;
pub mod item;
mod json;
pub mod ledger;
mod ops;
pub mod reservation;
mod statement;
mod text;

pub use coalesce::Coalesced;
pub use db::{Config, Pooling, with_database_time};
pub use error::Error;
pub use inventory::Inventory;
pub use ops::cancel::{Cancel, cancel_in};
pub use ops::confirm::{Confirm, ConfirmOptions, IfExpired, confirm_in};
pub use ops::create_item::{CreateItem, NewItem};
pub use ops::expire::{Expire, ExpireOptions, SweepLimit};
pub use ops::get_ledger::LedgerQuery;
pub use ops::health::Health;
pub use ops::reserve::{NewReservation, Reserve, reserve_in};
pub use ops::return_units::{NewReturn, Return};
pub use text::Invalid;
