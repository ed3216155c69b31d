//! End holds, by confirm or cancel: a lone call by `settle.sql`, several by `settle_batch.sql`.

use std::sync::Arc;

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::json_array;
use crate::bucket::bucket;
use crate::coalesce::{Coalesce, Member};
use crate::db::Database;
use crate::db::fetch::Fetch;
use crate::error::Error;
use crate::reservation::Reservation;
use crate::statement::{Statement, Value, statement};

pub(super) const SETTLE: Statement = statement!("settle");
const SETTLE_BATCH: Statement = statement!("settle_batch");

/// How a hold is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    Confirm,
    Cancel,
}

/// A call as it stands in the queue, and as `settle_batch.sql` reads it.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Call {
    pub reservation_id: Uuid,
    pub verb: Verb,
}

/// The statements' word for what became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(crate) enum Outcome {
    Confirmed,
    Cancelled,
    Expired,
    AlreadyConfirmed,
    AlreadyCancelled,
    AlreadyExpired,
    NotFound,
}

/// A row: what became of a call, and the reservation as it stands; none for an unknown reservation.
struct Found(Option<(Outcome, Reservation)>);

impl<'r> FromRow<'r, PgRow> for Found {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self(match row.try_get("outcome")? {
            Outcome::NotFound => None,
            outcome => Some((outcome, Reservation::from_row(row)?)),
        }))
    }
}

/// Sends one call.
pub(super) async fn settle(fetch: &mut impl Fetch, call: Call) -> Result<Option<(Outcome, Reservation)>, Error> {
    let verb = match call.verb {
        Verb::Confirm => "confirm",
        Verb::Cancel => "cancel",
    };
    let values = [
        Value::Uuid(call.reservation_id),
        Value::Text(Some(verb.to_owned())),
        Value::Bucket(bucket(call.reservation_id)),
    ];
    let answer = fetch.fetch(&SETTLE, &values).await?;
    Ok(SETTLE.decode_first(&answer)?.and_then(|Found(settled)| settled))
}

/// The operation. None is the answer when there is no such reservation.
pub(crate) struct Settlements {
    pub database: Arc<Database>,
}

impl Coalesce for Settlements {
    /// The reservation's bucket.
    type Queue = i32;
    type Call = Call;
    type Answer = Option<(Outcome, Reservation)>;

    async fn send_alone(&self, _: i32, call: &Call) -> Result<Option<(Outcome, Reservation)>, Error> {
        settle(&mut &*self.database, *call).await
    }

    async fn send_together(&self, bucket: i32, members: Vec<Member<Self>>) -> Result<(), (Error, Vec<Member<Self>>)> {
        let calls = json_array(members.iter().map(|member| member.call));
        let answered = self.database.fetch(&SETTLE_BATCH, &[Value::Text(Some(calls)), Value::Bucket(bucket)]).await;
        match answered.and_then(|answer| SETTLE_BATCH.decode_each::<Found>(&answer, members.len())) {
            Ok(rows) => members.into_iter().zip(rows).for_each(|(member, Found(settled))| member.answer(Ok(settled))),
            Err(error) => return Err((error, members)),
        }
        Ok(())
    }
}
