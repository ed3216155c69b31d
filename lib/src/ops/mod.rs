//! One verb, one pair: what it asks and answers in `.rs`, what the database does in `.sql`.

pub mod audit;
pub mod cancel;
pub mod confirm;
pub mod create_item;
pub mod expire;
pub mod get_item;
pub mod get_ledger;
pub mod get_reservation;
pub mod health;
mod reacquire;
pub(crate) mod refuse;
pub mod reserve;
pub mod return_units;
pub(crate) mod settle;

use serde::Serialize;
use sqlx::FromRow;
use sqlx::postgres::PgRow;

use crate::db::Answer;
use crate::error::Error;
use crate::statement::Statement;

impl Statement {
    /// The rows as `Row`s.
    fn decode<'r, Row: FromRow<'r, PgRow>>(&self, rows: &'r [PgRow]) -> Result<Vec<Row>, Error> {
        rows.iter().map(|row| Row::from_row(row).map_err(|error| self.unexpected(error))).collect()
    }

    /// The only row, if there is one.
    fn decode_first<'r, Row: FromRow<'r, PgRow>>(&self, answer: &'r Answer) -> Result<Option<Row>, Error> {
        answer.rows.first().map(|row| Row::from_row(row).map_err(|error| self.unexpected(error))).transpose()
    }

    /// The rows, of which there must be one for each of so many calls.
    fn decode_each<'r, Row: FromRow<'r, PgRow>>(
        &self,
        answer: &'r Answer,
        call_count: usize,
    ) -> Result<Vec<Row>, Error> {
        match answer.rows.len() {
            row_count if row_count == call_count => self.decode(&answer.rows),
            row_count => Err(self.unexpected(format_args!("{row_count} rows for {call_count} calls"))),
        }
    }

    /// An answer that the statement cannot give, if its text and this library are of one version.
    fn unexpected(&self, cause: impl std::fmt::Display) -> Error {
        Error::Internal { statement: self.name, cause: cause.to_string() }
    }

    /// A refusal that cannot be trusted: an earlier attempt may still be running.
    fn refuse_if_certain<T>(&self, in_doubt: bool, refusal: T) -> Result<T, Error> {
        if in_doubt {
            return Err(Error::Unavailable(format!("the connection broke while `{}` was under way", self.name)));
        }
        Ok(refusal)
    }
}

/// The calls of a batch, as the one parameter that carries them all.
fn json_array(calls: impl Iterator<Item = impl Serialize>) -> String {
    // Calls are plain structs of strings and numbers, which always have a JSON form.
    serde_json::to_string(&calls.collect::<Vec<_>>()).unwrap_or_default()
}

/// How often a statement that answered `moved` is run again before it is sent behind the item's lock.
const MOVED_COUNT_MAX: u32 = 2;
