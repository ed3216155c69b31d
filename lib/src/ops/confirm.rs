//! Deduct a held reservation's units for good.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::reacquire::{self, Reacquire};
use super::settle::{Call, Outcome, SETTLE, Settlements, Verb};
use crate::coalesce::{Lanes, ending};
use crate::db::Database;
use crate::error::Error;
use crate::reservation::Reservation;

/// How to confirm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfirmOptions {
    /// What to do when the hold has expired; refused unless said otherwise.
    #[serde(default)]
    pub if_expired: IfExpired,
}

/// What to do when the hold has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum IfExpired {
    /// Refuse.
    #[default]
    Refuse,
    /// Confirm all the same when the units are free.
    Reacquire,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Confirm {
    /// Confirmed, by this call.
    Confirmed(Reservation),
    /// Confirmed before; nothing was deducted again.
    AlreadyConfirmed(Reservation),
    /// There is no such reservation.
    ReservationNotFound,
    /// Cancelled before.
    AlreadyCancelled(Reservation),
    /// The deadline has passed. `available_quantity`: what was free when the units were to be taken anew and were not.
    Expired {
        /// The reservation.
        reservation: Reservation,
        /// Units that were available, where that mattered.
        available_quantity: Option<i64>,
    },
}

pub(crate) async fn confirm(
    database: &Database,
    settlements: &Lanes<Settlements>,
    reservation_id: Uuid,
    options: ConfirmOptions,
) -> Result<Confirm, Error> {
    let call = Call { reservation_id, verb: Verb::Confirm };
    let Some((outcome, reservation)) = settlements.call(ending(reservation_id), call).await? else {
        return Ok(Confirm::ReservationNotFound);
    };
    match (outcome, options.if_expired) {
        (Outcome::Confirmed, _) => Ok(Confirm::Confirmed(reservation)),
        (Outcome::AlreadyConfirmed, _) => Ok(Confirm::AlreadyConfirmed(reservation)),
        (Outcome::AlreadyCancelled, _) => Ok(Confirm::AlreadyCancelled(reservation)),
        (Outcome::Expired | Outcome::AlreadyExpired, IfExpired::Refuse) => {
            Ok(Confirm::Expired { reservation, available_quantity: None })
        }
        // The expiry is recorded now, so the units are free, and are taken in one statement or not at all.
        (Outcome::Expired | Outcome::AlreadyExpired, IfExpired::Reacquire) => {
            match reacquire::reacquire(database, reservation.id, reservation.item_id).await? {
                Reacquire::Reacquired(reservation) => Ok(Confirm::Confirmed(reservation)),
                Reacquire::AlreadyConfirmed(reservation) => Ok(Confirm::AlreadyConfirmed(reservation)),
                Reacquire::InsufficientAvailability { reservation, available_quantity } => {
                    Ok(Confirm::Expired { reservation, available_quantity: Some(available_quantity) })
                }
            }
        }
        (Outcome::Cancelled | Outcome::NotFound, _) => {
            Err(SETTLE.unexpected(format_args!("{outcome:?} for a confirm")))
        }
    }
}
