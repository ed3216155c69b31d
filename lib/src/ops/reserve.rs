//! Hold units of one item for a customer until a deadline.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::refuse::{self, Refusals, SoldOutHints};
use super::{MOVED_COUNT_MAX, json_array};
use crate::coalesce::{Coalesce, Lanes, Member, reservation_id};
use crate::db::{Answer, Database};
use crate::error::Error;
use crate::reservation::{CustomerId, IdempotencyKey, Quantity, Reservation, Status, TimeToLive, fingerprint};
use crate::statement::{Statement, Value, hexadecimal};

const RESERVE: Statement = Statement { name: "reserve", sql: include_str!("reserve.sql") };
const RESERVE_BATCH: Statement = Statement { name: "reserve_batch", sql: include_str!("reserve_batch.sql") };

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

/// A call as it stands in line. Its id is chosen once: however often it is sent, it takes effect once.
pub(crate) struct Call {
    pub reservation_id: Uuid,
    pub new_reservation: NewReservation,
    pub idempotency_key: Option<IdempotencyKey>,
    pub fingerprint: Option<Vec<u8>>,
}

impl Call {
    fn new(new_reservation: NewReservation, idempotency_key: Option<IdempotencyKey>) -> Self {
        Self {
            reservation_id: reservation_id(new_reservation.item_id),
            fingerprint: idempotency_key.is_some().then(|| fingerprint(&new_reservation)),
            new_reservation,
            idempotency_key,
        }
    }
}

pub(crate) async fn reserve(
    reserves: &Lanes<Reserves>,
    refusals: &Lanes<Refusals>,
    sold_out: &SoldOutHints,
    new_reservation: NewReservation,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Reserve, Error> {
    let item_id = new_reservation.item_id;
    let requested_quantity = new_reservation.quantity.get();
    if sold_out.expects_refusal(item_id) {
        let idempotency_key = idempotency_key.as_ref().map(|key| key.as_str().to_owned());
        let call = refuse::Call { quantity: requested_quantity, idempotency_key };
        if let Some(available_quantity) = refusals.call(item_id, call).await? {
            return Ok(Reserve::InsufficientAvailability { available_quantity, requested_quantity });
        }
        sold_out.forget(item_id);
    }
    reserves.call(item_id, Call::new(new_reservation, idempotency_key)).await
}

/// The operation: a lone call by `reserve.sql`, several of one item by `reserve_batch.sql`.
pub(crate) struct Reserves {
    pub database: Arc<Database>,
    pub sold_out: Arc<SoldOutHints>,
}

impl Coalesce for Reserves {
    type Lane = Uuid;
    type Call = Call;
    type Answer = Reserve;

    async fn send_alone(&self, item_id: Uuid, call: &Call) -> Result<Reserve, Error> {
        let values = [
            Value::Uuid(call.reservation_id),
            Value::Uuid(item_id),
            Value::Text(Some(call.new_reservation.customer_id.as_str().to_owned())),
            Value::Bigint(call.new_reservation.quantity.get()),
            Value::Double(call.new_reservation.ttl_seconds.seconds()),
            Value::Text(call.idempotency_key.as_ref().map(|key| key.as_str().to_owned())),
            Value::Bytes(call.fingerprint.clone()),
        ];
        let (mut moved_count, mut in_doubt) = (0, false);
        loop {
            let answer = self.fetch(&RESERVE, &values, item_id, moved_count).await?;
            in_doubt |= answer.in_doubt;
            let row: Row = RESERVE.decode_first(&answer)?.ok_or_else(|| RESERVE.unexpected("no row"))?;
            match self.outcome(&RESERVE, in_doubt, row, call)? {
                Some(outcome) => return Ok(outcome),
                None => moved_count += 1,
            }
        }
    }

    async fn send_together(
        &self,
        item_id: Uuid,
        mut members: Vec<Member<Self>>,
    ) -> Result<(), (Error, Vec<Member<Self>>)> {
        let (mut moved_count, mut in_doubt) = (0, false);
        while !members.is_empty() {
            let values = [Value::Uuid(item_id), Value::Text(Some(written(&members)))];
            let answered = self.fetch(&RESERVE_BATCH, &values, item_id, moved_count).await;
            let rows = answered.and_then(|answer| {
                in_doubt |= answer.in_doubt;
                RESERVE_BATCH.decode_each::<Row>(&answer, members.len())
            });
            let rows = match rows {
                Ok(rows) => rows,
                // An earlier round may yet take effect, so nobody can say that nothing was changed.
                Err(error) if in_doubt => return Err((Error::Unavailable(error.to_string()), members)),
                Err(error) => return Err((error, members)),
            };
            let mut moved = Vec::new();
            for (member, row) in members.into_iter().zip(rows) {
                match self.outcome(&RESERVE_BATCH, in_doubt, row, &member.call).transpose() {
                    Some(outcome) => member.answer(outcome),
                    None => moved.push(member),
                }
            }
            members = moved;
            moved_count += 1;
        }
        Ok(())
    }

    /// Under one key, the second call has to find what the first one made.
    fn distinct<'c>(&self, call: &'c Call) -> Option<&'c str> {
        call.idempotency_key.as_ref().map(IdempotencyKey::as_str)
    }
}

impl Reserves {
    async fn fetch(
        &self,
        statement: &Statement,
        values: &[Value],
        item_id: Uuid,
        moved_count: u32,
    ) -> Result<Answer, Error> {
        if moved_count < MOVED_COUNT_MAX {
            self.database.fetch(statement, values).await
        } else {
            self.database.fetch_behind_lock(statement, values, item_id).await
        }
    }

    /// What a row says became of a call; none when it has to be sent again. `in_doubt`: an earlier attempt of the call may
    /// yet take effect.
    fn outcome(&self, statement: &Statement, in_doubt: bool, row: Row, call: &Call) -> Result<Option<Reserve>, Error> {
        let made = |made: Made| made.reservation().ok_or_else(|| statement.unexpected("a reservation with a gap"));
        let outcome = match row.outcome.as_str() {
            "reserved" => Reserve::Reserved(made(row.made)?),
            "replayed" => Reserve::Replayed(made(row.made)?),
            "key_reused" => Reserve::IdempotencyKeyReused,
            "item_not_found" => Reserve::ItemNotFound,
            "insufficient_availability" => {
                let available_quantity = row.available_quantity.unwrap_or_default();
                if available_quantity == 0 {
                    self.sold_out.remember(call.new_reservation.item_id);
                }
                let requested_quantity = call.new_reservation.quantity.get();
                let refusal = Reserve::InsufficientAvailability { available_quantity, requested_quantity };
                statement.refuse_if_certain(in_doubt, refusal)?
            }
            "moved" => return Ok(None),
            outcome => return Err(statement.unexpected(outcome)),
        };
        Ok(Some(outcome))
    }
}

/// The calls as `reserve_batch.sql` reads them.
fn written(members: &[Member<Reserves>]) -> String {
    #[derive(Serialize)]
    struct Written<'c> {
        reservation_id: Uuid,
        customer_id: &'c str,
        quantity: i64,
        ttl_seconds: f64,
        idempotency_key: Option<&'c str>,
        idempotency_fingerprint: Option<String>,
    }
    let calls = members.iter().map(|Member { call, .. }| Written {
        reservation_id: call.reservation_id,
        customer_id: call.new_reservation.customer_id.as_str(),
        quantity: call.new_reservation.quantity.get(),
        ttl_seconds: call.new_reservation.ttl_seconds.seconds(),
        idempotency_key: call.idempotency_key.as_ref().map(IdempotencyKey::as_str),
        idempotency_fingerprint: call.fingerprint.as_deref().map(hexadecimal),
    });
    json_array(calls)
}
