//! Hold units of one item for a customer until a deadline.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::MOVED_COUNT_MAX;
use super::refuse::{SoldOutHints, refuse};
use crate::db::Database;
use crate::error::Error;
use crate::reservation::{CustomerId, IdempotencyKey, Quantity, Reservation, Status, TimeToLive, fingerprint};
use crate::statement::{Statement, Value};

const RESERVE: Statement = Statement { name: "reserve", sql: include_str!("reserve.sql") };

/// The hold to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewReservation {
    /// The item to hold units of.
    pub item_id: Uuid,
    /// Who holds them.
    pub customer_id: CustomerId,
    /// How many units.
    pub quantity: Quantity,
    /// How long the hold lives, in seconds from the instant it is made; 600 unless said otherwise.
    #[serde(default)]
    pub ttl_seconds: TimeToLive,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reserve {
    /// Held, by this call.
    Reserved(Reservation),
    /// Held by an earlier call under the same key; the reservation as it was then.
    Replayed(Reservation),
    /// There is no such item.
    ItemNotFound,
    /// Fewer units are available than were asked for.
    InsufficientAvailability {
        /// Units that were available.
        available_quantity: i64,
        /// Units that were asked for.
        requested_quantity: i64,
    },
    /// The key was used for another reservation.
    IdempotencyKeyReused,
}

#[derive(sqlx::FromRow)]
struct Row {
    outcome: String,
    available_quantity: Option<i64>,
    #[sqlx(flatten)]
    made: Made,
}

/// What the statement knows of the reservation it made or found.
#[derive(sqlx::FromRow)]
struct Made {
    id: Option<Uuid>,
    item_id: Option<Uuid>,
    basket_id: Option<Uuid>,
    customer_id: Option<String>,
    quantity: Option<i64>,
    created_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
}

impl Made {
    /// The reservation as it was when it was made, which is how a repeat answers it too.
    fn reservation(self) -> Option<Reservation> {
        Some(Reservation {
            id: self.id?,
            item_id: self.item_id?,
            customer_id: self.customer_id?,
            quantity: self.quantity?,
            status: Status::Pending,
            basket_id: self.basket_id,
            created_at: self.created_at?,
            expires_at: self.expires_at?,
            confirmed_at: None,
            cancelled_at: None,
            expired_at: None,
        })
    }
}

pub(crate) async fn reserve(
    database: &Database,
    sold_out: &SoldOutHints,
    new_reservation: NewReservation,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Reserve, Error> {
    let item_id = new_reservation.item_id;
    let requested_quantity = new_reservation.quantity.get();
    if sold_out.expects_refusal(item_id) {
        let key = idempotency_key.as_ref().map(IdempotencyKey::as_str);
        if let Some(available_quantity) = refuse(database, item_id, requested_quantity, key).await? {
            return Ok(Reserve::InsufficientAvailability { available_quantity, requested_quantity });
        }
        sold_out.forget(item_id);
    }
    let fingerprint = idempotency_key.is_some().then(|| fingerprint(&new_reservation));
    let values = [
        Value::Uuid(Uuid::now_v7()),
        Value::Uuid(item_id),
        Value::Text(Some(new_reservation.customer_id.as_str().to_owned())),
        Value::Bigint(requested_quantity),
        Value::Double(new_reservation.ttl_seconds.seconds()),
        Value::Text(idempotency_key.map(|key| key.as_str().to_owned())),
        Value::Bytes(fingerprint),
    ];
    let mut moved_count = 0;
    loop {
        let answer = if moved_count < MOVED_COUNT_MAX {
            database.fetch(&RESERVE, &values).await?
        } else {
            database.fetch_behind_lock(&RESERVE, &values, item_id).await?
        };
        let row: Row = RESERVE.decode_first(&answer)?.ok_or_else(|| RESERVE.unexpected("no row"))?;
        let made = |made: Made| made.reservation().ok_or_else(|| RESERVE.unexpected("a reservation with a gap"));
        return match row.outcome.as_str() {
            "reserved" => Ok(Reserve::Reserved(made(row.made)?)),
            "replayed" => Ok(Reserve::Replayed(made(row.made)?)),
            "key_reused" => Ok(Reserve::IdempotencyKeyReused),
            "item_not_found" => Ok(Reserve::ItemNotFound),
            "insufficient_availability" => {
                let available_quantity = row.available_quantity.unwrap_or_default();
                if available_quantity == 0 {
                    sold_out.remember(item_id);
                }
                RESERVE.refuse_if_certain(
                    &answer,
                    Reserve::InsufficientAvailability { available_quantity, requested_quantity },
                )
            }
            "moved" => {
                moved_count += 1;
                continue;
            }
            outcome => Err(RESERVE.unexpected(outcome)),
        };
    }
}
