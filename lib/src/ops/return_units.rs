//! Take units of a confirmed reservation back to the shelf.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bucket::bucket;
use crate::db::Database;
use crate::error::Error;
use crate::reservation::{IdempotencyKey, Quantity, Reservation, fingerprint};
use crate::statement::{Statement, Value, statement};

const RETURN_UNITS: Statement = statement!("return_units");

/// The units that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewReturn {
    /// How many of the units that were confirmed and have not come back.
    pub quantity: Quantity,
}

impl NewReturn {
    /// So many units.
    pub fn new(quantity: Quantity) -> Self {
        Self { quantity }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Return {
    /// Back on the shelf, by this call.
    Returned(Reservation),
    /// Back by an earlier call under the same key; the reservation as it is now.
    Replayed(Reservation),
    /// There is no such reservation.
    ReservationNotFound,
    /// It is held, cancelled or expired: nothing of it was sold.
    NotConfirmed(Reservation),
    /// Fewer units were confirmed and have not come back.
    ExceedsConfirmed(Reservation),
    /// The key was used for another return.
    IdempotencyKeyReused,
}

/// The statement's word for what became of the call.
#[derive(Clone, Copy, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum Outcome {
    Returned,
    Replayed,
    KeyReused,
    NotConfirmed,
    ExceedsConfirmed,
}

#[derive(sqlx::FromRow)]
struct Row {
    outcome: Outcome,
    #[sqlx(flatten)]
    reservation: Reservation,
}

pub(crate) async fn return_units(
    database: &Database,
    reservation_id: Uuid,
    new_return: NewReturn,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Return, Error> {
    // However often the statement is sent, the units come back once. No caller's key has a space.
    let own_key = idempotency_key.is_none();
    let key = idempotency_key.map_or_else(|| format!(" {}", Uuid::now_v7()), |key| key.as_str().to_owned());
    let values = [
        Value::Uuid(reservation_id),
        Value::Bigint(new_return.quantity.get()),
        Value::Text(Some(key)),
        Value::Bytes(Some(fingerprint(&(reservation_id, new_return)))),
        Value::Bucket(bucket(reservation_id)),
    ];
    let answer = database.fetch(&RETURN_UNITS, &values).await?;
    let row: Option<Row> = RETURN_UNITS.decode_first(&answer)?;
    let Some(Row { outcome, reservation }) = row else { return Ok(Return::ReservationNotFound) };
    Ok(match outcome {
        Outcome::Returned => Return::Returned(reservation),
        // An earlier attempt of this very call.
        Outcome::Replayed if own_key => Return::Returned(reservation),
        Outcome::Replayed => Return::Replayed(reservation),
        Outcome::KeyReused => Return::IdempotencyKeyReused,
        Outcome::NotConfirmed => Return::NotConfirmed(reservation),
        Outcome::ExceedsConfirmed => {
            RETURN_UNITS.refuse_if_certain(answer.in_doubt, Return::ExceedsConfirmed(reservation))?
        }
    })
}
