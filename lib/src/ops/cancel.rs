//! Give a held reservation's units back.

use uuid::Uuid;

use crate::db::Database;
use crate::error::Error;
use crate::reservation::Reservation;
use crate::statement::{Statement, Value};

const CANCEL: Statement = Statement { name: "cancel", sql: include_str!("cancel.sql") };

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Cancel {
    /// Cancelled, by this call.
    Cancelled(Reservation),
    /// Cancelled before; nothing was released again.
    AlreadyCancelled(Reservation),
    /// There is no such reservation.
    ReservationNotFound,
    /// Confirmed before.
    AlreadyConfirmed(Reservation),
    /// The deadline has passed.
    Expired(Reservation),
}

#[derive(sqlx::FromRow)]
struct Row {
    outcome: String,
    #[sqlx(flatten)]
    reservation: Reservation,
}

pub(crate) async fn cancel(database: &Database, reservation_id: Uuid) -> Result<Cancel, Error> {
    let answer = database.fetch(&CANCEL, &[Value::Uuid(reservation_id)]).await?;
    let Some(Row { outcome, reservation }) = CANCEL.decode_first(&answer)? else {
        return Ok(Cancel::ReservationNotFound);
    };
    match outcome.as_str() {
        "cancelled" => Ok(Cancel::Cancelled(reservation)),
        "already_cancelled" => Ok(Cancel::AlreadyCancelled(reservation)),
        "already_confirmed" => Ok(Cancel::AlreadyConfirmed(reservation)),
        "expired" | "already_expired" => Ok(Cancel::Expired(reservation)),
        outcome => Err(CANCEL.unexpected(outcome)),
    }
}
