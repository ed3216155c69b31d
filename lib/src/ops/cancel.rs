//! Give a held reservation's units back.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::settle::{Call, Outcome, SETTLE, Settlements, Verb, settle};
use crate::bucket::bucket;
use crate::coalesce::Queues;
use crate::db::transaction::Transaction;
use crate::error::Error;
use crate::reservation::Reservation;

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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

pub(crate) async fn cancel(settlements: &Queues<Settlements>, reservation_id: Uuid) -> Result<Cancel, Error> {
    let call = Call { reservation_id, verb: Verb::Cancel };
    outcome(settlements.call(bucket(reservation_id), call).await?)
}

/// [`Inventory::cancel`](crate::Inventory::cancel) inside a transaction of the caller's: see [`reserve_in`](crate::reserve_in).
///
/// # Errors
/// As [`reserve_in`](crate::reserve_in).
pub async fn cancel_in(connection: &mut PgConnection, reservation_id: Uuid) -> Result<Cancel, Error> {
    let mut transaction = Transaction::of(connection).await?;
    outcome(settle(&mut transaction, Call { reservation_id, verb: Verb::Cancel }).await?)
}

fn outcome(settled: Option<(Outcome, Reservation)>) -> Result<Cancel, Error> {
    let Some((outcome, reservation)) = settled else {
        return Ok(Cancel::ReservationNotFound);
    };
    match outcome {
        Outcome::Cancelled => Ok(Cancel::Cancelled(reservation)),
        Outcome::AlreadyCancelled => Ok(Cancel::AlreadyCancelled(reservation)),
        Outcome::AlreadyConfirmed => Ok(Cancel::AlreadyConfirmed(reservation)),
        Outcome::Expired | Outcome::AlreadyExpired => Ok(Cancel::Expired(reservation)),
        Outcome::Confirmed | Outcome::NotFound => Err(SETTLE.unexpected(format_args!("{outcome:?} for a cancel"))),
    }
}
