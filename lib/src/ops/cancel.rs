//! Give a held reservation's units back.

use uuid::Uuid;

use super::settle::{Call, Outcome, SETTLE, Settlements, Verb};
use crate::coalesce::{Lanes, ending};
use crate::error::Error;
use crate::reservation::Reservation;

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

pub(crate) async fn cancel(settlements: &Lanes<Settlements>, reservation_id: Uuid) -> Result<Cancel, Error> {
    let call = Call { reservation_id, verb: Verb::Cancel };
    let Some((outcome, reservation)) = settlements.call(ending(reservation_id), call).await? else {
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
