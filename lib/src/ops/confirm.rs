//! Deduct a held reservation's units for good.

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::reacquire::{self, Reacquire};
use super::settle::{Call, Outcome, SETTLE, Settlements, Verb, settle};
use crate::bucket::bucket;
use crate::coalesce::Queues;
use crate::db::Database;
use crate::db::fetch::Fetch;
use crate::db::transaction::Transaction;
use crate::error::Error;
use crate::reservation::Reservation;

/// How to confirm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConfirmOptions {
    /// What to do when the hold has expired; refused unless said otherwise.
    #[serde(default)]
    #[cfg_attr(feature = "http", schemars(schema_with = "if_expired_schema"))]
    pub if_expired: IfExpired,
}

/// In place, and with null, which stands for the default.
#[cfg(feature = "http")]
fn if_expired_schema(_: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
    use schemars::schema::{InstanceType, SchemaObject};
    let words = ["refuse", "reacquire"].map(serde_json::Value::from);
    SchemaObject {
        instance_type: Some(InstanceType::String.into()),
        enum_values: Some(words.into_iter().chain([serde_json::Value::Null]).collect()),
        extensions: [("nullable".to_owned(), true.into())].into(),
        ..SchemaObject::default()
    }
    .into()
}

impl ConfirmOptions {
    /// Confirms an expired hold all the same when its units are free.
    pub fn reacquire() -> Self {
        Self { if_expired: IfExpired::Reacquire }
    }
}

/// What to do when the hold has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[non_exhaustive]
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
    mut database: &Database,
    settlements: &Queues<Settlements>,
    reservation_id: Uuid,
    options: ConfirmOptions,
) -> Result<Confirm, Error> {
    let call = Call { reservation_id, verb: Verb::Confirm };
    let settled = settlements.call(bucket(reservation_id), call).await?;
    outcome(&mut database, settled, options).await
}

/// [`Inventory::confirm`](crate::Inventory::confirm) inside a transaction of the caller's: see [`reserve_in`](crate::reserve_in).
///
/// # Errors
/// As [`reserve_in`](crate::reserve_in).
pub async fn confirm_in(
    connection: &mut PgConnection,
    reservation_id: Uuid,
    options: ConfirmOptions,
) -> Result<Confirm, Error> {
    let mut transaction = Transaction::of(connection).await?;
    let settled = settle(&mut transaction, Call { reservation_id, verb: Verb::Confirm }).await?;
    outcome(&mut transaction, settled, options).await
}

async fn outcome(
    fetch: &mut impl Fetch,
    settled: Option<(Outcome, Reservation)>,
    options: ConfirmOptions,
) -> Result<Confirm, Error> {
    let Some((outcome, reservation)) = settled else {
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
            match reacquire::reacquire(fetch, reservation.id, reservation.item_id).await? {
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
