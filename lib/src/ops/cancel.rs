//! Give a held reservation's units back.

use uuid::Uuid;

use super::settle::{Call, Settled, Settlements, Verb};
use crate::coalesce::{Lanes, ending};
use crate::error::Error;
use crate::reservation::Reservation;
use crate::statement::Statement;

pub(super) const CANCEL: Statement = Statement { name: "cancel", sql: include_str!("cancel.sql") };

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
    let Some(Settled { outcome, reservation }) = settlements.call(ending(reservation_id), call).await? else {
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
