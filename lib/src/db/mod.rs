//! The database: where it is ([`config`]), connections to it ([`pool`]), what a failure means ([`failure`]) and
//! when the statement is sent again ([`retry`]), its schema ([`migrate`]).

use sqlx::postgres::PgRow;

mod config;
mod failure;
pub(crate) mod fetch;
mod migrate;
mod pool;
mod retry;
mod time;
pub(crate) mod transaction;

pub use self::config::{Config, Pooling};
pub(crate) use self::pool::Database;
pub(crate) use self::time::count_database_time;
pub use self::time::with_database_time;

/// What a statement answered.
pub(crate) struct Answer {
    pub rows: Vec<PgRow>,
    /// An earlier attempt was sent and its connection broke with no word from the server: it may still be waiting
    /// there, and take effect after this answer. A success is certain all the same (the ids agree); a refusal is not.
    pub in_doubt: bool,
}
