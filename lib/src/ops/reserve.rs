//! Hold units of one item for a customer until a deadline.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::get_reservation::get_reservation;
use super::refuse::{self, Refusals};
use super::{MOVED_COUNT_MAX, json_array};
use crate::bucket::{bucket, reservation_id};
use crate::coalesce::{Coalesce, Member, Queues};
use crate::db::Database;
use crate::db::fetch::Fetch;
use crate::db::transaction::Transaction;
use crate::error::Error;
use crate::hints::Hints;
use crate::reservation::{CustomerId, IdempotencyKey, Quantity, Reservation, Status, TimeToLive, fingerprint};
use crate::statement::{Statement, Value, hexadecimal, statement};

const RESERVE: Statement = Statement { leaves_repeats: true, ..statement!("reserve") };
const RESERVE_BATCH: Statement = statement!("reserve_batch");

/// The hold to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewReservation {
    /// The item to hold units of.
    pub item_id: Uuid,
    /// Who holds them.
    pub customer_id: CustomerId,
    /// How many units.
    pub quantity: Quantity,
    /// How long the hold lives, in seconds from the instant it is made; 600 unless said otherwise.
    #[serde(default)]
    #[cfg_attr(feature = "http", schemars(with = "Option<TimeToLive>"))]
    pub ttl_seconds: TimeToLive,
}

impl NewReservation {
    /// A hold of some units for 600 seconds.
    pub fn new(item_id: Uuid, customer_id: CustomerId, quantity: Quantity) -> Self {
        Self { item_id, customer_id, quantity, ttl_seconds: TimeToLive::default() }
    }

    /// The same, for so long.
    pub fn for_seconds(self, ttl_seconds: TimeToLive) -> Self {
        Self { ttl_seconds, ..self }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reserve {
    /// Held, by this call.
    Reserved(Reservation),
    /// Held by an earlier call under the same key; the reservation as it is now.
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

/// What the lean statement tells of the reservation it made.
#[derive(sqlx::FromRow)]
struct Granted {
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// The general statement's word for what became of a call.
#[derive(Clone, Copy, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum Outcome {
    Reserved,
    Replayed,
    KeyReused,
    ItemNotFound,
    InsufficientAvailability,
    Moved,
}

#[derive(sqlx::FromRow)]
struct Row {
    outcome: Outcome,
    /// What is left behind this call: with what it reserved taken off.
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
    /// The reservation as it was when it was made.
    fn reservation(self) -> Option<Reservation> {
        Some(Reservation {
            id: self.id?,
            item_id: self.item_id?,
            customer_id: self.customer_id?,
            quantity: self.quantity?,
            confirmed_quantity: 0,
            returned_quantity: 0,
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

/// A call as it stands in the queue. Its id is chosen once: however often it is sent, it takes effect once.
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

    /// The reservation that `reserve.sql` made.
    fn reservation(&self, Granted { created_at, expires_at }: Granted) -> Reservation {
        Reservation {
            id: self.reservation_id,
            item_id: self.new_reservation.item_id,
            customer_id: self.new_reservation.customer_id.as_str().to_owned(),
            quantity: self.new_reservation.quantity.get(),
            confirmed_quantity: 0,
            returned_quantity: 0,
            status: Status::Pending,
            basket_id: None,
            created_at,
            expires_at,
            confirmed_at: None,
            cancelled_at: None,
            expired_at: None,
        }
    }

    /// The parameters of `reserve.sql`.
    fn values(&self) -> [Value; 8] {
        [
            Value::Uuid(self.reservation_id),
            Value::Uuid(self.new_reservation.item_id),
            Value::Text(Some(self.new_reservation.customer_id.as_str().to_owned())),
            Value::Bigint(self.new_reservation.quantity.get()),
            Value::Double(self.new_reservation.ttl_seconds.seconds()),
            Value::Text(self.idempotency_key.as_ref().map(|key| key.as_str().to_owned())),
            Value::Bytes(self.fingerprint.clone()),
            Value::Bucket(bucket(self.new_reservation.item_id)),
        ]
    }
}

pub(crate) async fn reserve(
    reserves: &Queues<Reserves>,
    refusals: &Queues<Refusals>,
    sold_out: &Hints,
    new_reservation: NewReservation,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Reserve, Error> {
    let item_id = new_reservation.item_id;
    let requested_quantity = new_reservation.quantity.get();
    if sold_out.get(item_id) {
        let idempotency_key = idempotency_key.as_ref().map(|key| key.as_str().to_owned());
        let call = refuse::Call { quantity: requested_quantity, idempotency_key };
        if let Some(available_quantity) = refusals.call(item_id, call).await? {
            return Ok(Reserve::InsufficientAvailability { available_quantity, requested_quantity });
        }
        sold_out.set(item_id, false);
    }
    reserves.call(item_id, Call::new(new_reservation, idempotency_key)).await
}

/// Holds units inside a transaction of the caller's, so that they commit or roll back with the caller's own rows. The
/// statements are those of [`Inventory::reserve`](crate::Inventory::reserve), without retries and without sharing.
///
/// The item is locked until the caller commits: every other call for it waits that long, so keep the transaction short, and
/// take several items by ascending id, or two such transactions deadlock. An error ends the transaction; roll it back, and
/// begin again where [`Error::is_retryable`] says so. Without a transaction of one's own, the safe order is: reserve, write
/// one's own rows under the reservation's id, confirm.
///
/// # Errors
/// [`Error::NotReadCommitted`] at another isolation level; [`Error::Overloaded`] after a deadlock, a conflict or a lock timeout.
pub async fn reserve_in(
    connection: &mut PgConnection,
    new_reservation: NewReservation,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<Reserve, Error> {
    let mut transaction = Transaction::of(connection).await?;
    let made = Scarcity::default().send_alone(&mut transaction, &Call::new(new_reservation, idempotency_key)).await?;
    as_it_is_now(&mut transaction, made).await
}

/// A repeat is told what became of the reservation since, lest its caller believe in a hold that is gone.
pub(crate) async fn as_it_is_now(fetch: &mut impl Fetch, made: Reserve) -> Result<Reserve, Error> {
    let Reserve::Replayed(then) = made else { return Ok(made) };
    let now = get_reservation(fetch, then.id).await?;
    Ok(Reserve::Replayed(now.unwrap_or(then)))
}

/// The operation: a lone call by `reserve.sql`, and by `reserve_batch.sql` when that grants nothing; several calls of one
/// item by `reserve_batch.sql`.
pub(crate) struct Reserves {
    pub database: Arc<Database>,
    pub scarcity: Scarcity,
}

/// What answers said of items, and so which statement is tried first.
#[derive(Default)]
pub(crate) struct Scarcity {
    /// Items of which nothing was left, for which a refusal is tried first.
    pub sold_out: Arc<Hints>,
    /// Items that have too few units for one more call like the last, for which the lean statement is passed over.
    scarce: Hints,
}

impl Scarcity {
    pub fn new(sold_out: Arc<Hints>) -> Self {
        Self { sold_out, scarce: Hints::default() }
    }
}

/// What the statements sent for some calls so far say about the next one.
#[derive(Default)]
struct Attempts {
    /// How often the general statement answered `moved`.
    moved_count: u32,
    /// An attempt may yet take effect, so a refusal is uncertain.
    in_doubt: bool,
}

impl Coalesce for Reserves {
    type Queue = Uuid;
    type Call = Call;
    type Answer = Reserve;

    async fn send_alone(&self, _: Uuid, call: &Call) -> Result<Reserve, Error> {
        self.scarcity.send_alone(&mut &*self.database, call).await
    }

    async fn send_together(
        &self,
        item_id: Uuid,
        mut members: Vec<Member<Self>>,
    ) -> Result<(), (Error, Vec<Member<Self>>)> {
        let mut attempts = Attempts::default();
        while !members.is_empty() {
            let calls: Vec<_> = members.iter().map(|member| &member.call).collect();
            let outcomes = match self.scarcity.decide(&mut &*self.database, item_id, &calls, &mut attempts).await {
                Ok(outcomes) => outcomes,
                Err(error) => return Err((error, members)),
            };
            let mut moved = Vec::new();
            for (member, outcome) in members.into_iter().zip(outcomes) {
                match outcome.transpose() {
                    Some(outcome) => member.answer(outcome),
                    None => moved.push(member),
                }
            }
            members = moved;
        }
        Ok(())
    }

    /// Under one key, the second call has to find what the first one made.
    fn distinct<'c>(&self, call: &'c Call) -> Option<&'c str> {
        call.idempotency_key.as_ref().map(IdempotencyKey::as_str)
    }
}

impl Scarcity {
    async fn send_alone(&self, fetch: &mut impl Fetch, call: &Call) -> Result<Reserve, Error> {
        let item_id = call.new_reservation.item_id;
        let mut attempts = Attempts::default();
        if !self.scarce.get(item_id) {
            let answer = fetch.fetch(&RESERVE, &call.values()).await?;
            if let Some(granted) = RESERVE.decode_first(&answer)? {
                return Ok(Reserve::Reserved(call.reservation(granted)));
            }
            attempts.in_doubt = answer.in_doubt;
        }
        loop {
            let outcome = self.decide(fetch, item_id, &[call], &mut attempts).await?.pop();
            if let Some(outcome) = outcome.ok_or_else(|| RESERVE_BATCH.unexpected("no row"))?? {
                return Ok(outcome);
            }
        }
    }

    /// Runs the general statement once. For each call, what became of it; none when it has to be sent again.
    async fn decide(
        &self,
        fetch: &mut impl Fetch,
        item_id: Uuid,
        calls: &[&Call],
        attempts: &mut Attempts,
    ) -> Result<Vec<Result<Option<Reserve>, Error>>, Error> {
        let values = [Value::Uuid(item_id), Value::Text(Some(written(calls))), Value::Bucket(bucket(item_id))];
        let locked_item_id = (attempts.moved_count >= MOVED_COUNT_MAX).then_some(item_id);
        let answered = fetch.send(&RESERVE_BATCH, &values, locked_item_id).await;
        attempts.moved_count += 1;
        let rows = answered.and_then(|answer| {
            attempts.in_doubt |= answer.in_doubt;
            RESERVE_BATCH.decode_each::<Row>(&answer, calls.len())
        });
        match rows {
            Ok(rows) => {
                let outcomes = rows.into_iter().zip(calls);
                Ok(outcomes.map(|(row, call)| self.outcome(attempts.in_doubt, row, call)).collect())
            }
            // An earlier attempt may yet take effect, so the caller cannot be told that nothing was changed.
            Err(error) if attempts.in_doubt => Err(Error::Unavailable(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// What a row says became of a call; none when it has to be sent again.
    fn outcome(&self, in_doubt: bool, row: Row, call: &Call) -> Result<Option<Reserve>, Error> {
        let item_id = call.new_reservation.item_id;
        let available_quantity = row.available_quantity.unwrap_or_default();
        let requested_quantity = call.new_reservation.quantity.get();
        let made = |made: Made| made.reservation().ok_or_else(|| RESERVE_BATCH.unexpected("a reservation with a gap"));
        Ok(Some(match row.outcome {
            Outcome::Reserved => {
                self.scarce.set(item_id, available_quantity < requested_quantity);
                Reserve::Reserved(made(row.made)?)
            }
            Outcome::Replayed => Reserve::Replayed(made(row.made)?),
            Outcome::KeyReused => Reserve::IdempotencyKeyReused,
            Outcome::ItemNotFound => Reserve::ItemNotFound,
            Outcome::InsufficientAvailability => {
                self.scarce.set(item_id, true);
                self.sold_out.set(item_id, available_quantity == 0);
                let refusal = Reserve::InsufficientAvailability { available_quantity, requested_quantity };
                RESERVE_BATCH.refuse_if_certain(in_doubt, refusal)?
            }
            Outcome::Moved => return Ok(None),
        }))
    }
}

/// The calls as `reserve_batch.sql` reads them.
fn written(calls: &[&Call]) -> String {
    #[derive(Serialize)]
    struct Written<'c> {
        reservation_id: Uuid,
        customer_id: &'c str,
        quantity: i64,
        ttl_seconds: f64,
        idempotency_key: Option<&'c str>,
        idempotency_fingerprint: Option<String>,
    }
    let calls = calls.iter().map(|call| Written {
        reservation_id: call.reservation_id,
        customer_id: call.new_reservation.customer_id.as_str(),
        quantity: call.new_reservation.quantity.get(),
        ttl_seconds: call.new_reservation.ttl_seconds.seconds(),
        idempotency_key: call.idempotency_key.as_ref().map(IdempotencyKey::as_str),
        idempotency_fingerprint: call.fingerprint.as_deref().map(hexadecimal),
    });
    json_array(calls)
}
