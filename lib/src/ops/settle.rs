//! End holds, by confirm or cancel: a lone call by the verb's own statement, several by `settle_batch.sql`.

use std::sync::Arc;

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::cancel::CANCEL;
use super::confirm::CONFIRM;
use super::json_array;
use crate::coalesce::{Coalesce, Member};
use crate::db::Database;
use crate::error::Error;
use crate::reservation::Reservation;
use crate::statement::{Statement, Value};

const SETTLE_BATCH: Statement = Statement { name: "settle_batch", sql: include_str!("settle_batch.sql") };

/// How a hold is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    Confirm,
    Cancel,
}

/// A call as it stands in line, and as `settle_batch.sql` reads it.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Call {
    pub reservation_id: Uuid,
    pub verb: Verb,
}

/// What became of it, in the statement's word, and the reservation as it stands.
pub(crate) struct Settled {
    pub outcome: String,
    pub reservation: Reservation,
}

impl<'r> FromRow<'r, PgRow> for Settled {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self { outcome: row.try_get("outcome")?, reservation: Reservation::from_row(row)? })
    }
}

/// A row of `settle_batch.sql`, which has one for an unknown reservation too.
struct Found(Option<Settled>);

impl<'r> FromRow<'r, PgRow> for Found {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let outcome: &str = row.try_get("outcome")?;
        Ok(Self(if outcome == "not_found" { None } else { Some(Settled::from_row(row)?) }))
    }
}

/// The operation. None is the answer when there is no such reservation.
pub(crate) struct Settlements {
    pub database: Arc<Database>,
}

impl Coalesce for Settlements {
    /// How the reservation's id ends.
    type Lane = u16;
    type Call = Call;
    type Answer = Option<Settled>;

    async fn send_alone(&self, _: u16, call: &Call) -> Result<Option<Settled>, Error> {
        let statement = match call.verb {
            Verb::Confirm => &CONFIRM,
            Verb::Cancel => &CANCEL,
        };
        let answer = self.database.fetch(statement, &[Value::Uuid(call.reservation_id)]).await?;
        statement.decode_first(&answer)
    }

    async fn send_together(&self, _: u16, members: Vec<Member<Self>>) -> Result<(), (Error, Vec<Member<Self>>)> {
        let calls = json_array(members.iter().map(|member| member.call));
        let answered = self.database.fetch(&SETTLE_BATCH, &[Value::Text(Some(calls))]).await;
        match answered.and_then(|answer| SETTLE_BATCH.decode_each::<Found>(&answer, members.len())) {
            Ok(rows) => members.into_iter().zip(rows).for_each(|(member, Found(settled))| member.answer(Ok(settled))),
            Err(error) => return Err((error, members)),
        }
        Ok(())
    }
}
