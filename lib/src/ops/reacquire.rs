//! Take an expired reservation's units anew and confirm it: a payment that landed late.

use uuid::Uuid;

use super::MOVED_COUNT_MAX;
use crate::bucket::bucket;
use crate::db::fetch::Fetch;
use crate::error::Error;
use crate::reservation::Reservation;
use crate::statement::{Statement, Value, statement};

const REACQUIRE: Statement = statement!("reacquire");

/// What became of it.
pub(crate) enum Reacquire {
    /// Confirmed, by this call.
    Reacquired(Reservation),
    /// Another call was first.
    AlreadyConfirmed(Reservation),
    /// Fewer units are available than the reservation had.
    InsufficientAvailability { reservation: Reservation, available_quantity: i64 },
}

/// The statement's word for what became of the call.
#[derive(Clone, Copy, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum Outcome {
    Confirmed,
    AlreadyConfirmed,
    InsufficientAvailability,
    Moved,
}

#[derive(sqlx::FromRow)]
struct Row {
    outcome: Outcome,
    available_quantity: i64,
    #[sqlx(flatten)]
    reservation: Reservation,
}

pub(crate) async fn reacquire(fetch: &mut impl Fetch, reservation_id: Uuid, item_id: Uuid) -> Result<Reacquire, Error> {
    let values = [Value::Uuid(reservation_id), Value::Bucket(bucket(reservation_id))];
    let (mut moved_count, mut in_doubt) = (0, false);
    loop {
        let answer = fetch.send(&REACQUIRE, &values, (moved_count >= MOVED_COUNT_MAX).then_some(item_id)).await?;
        in_doubt |= answer.in_doubt;
        let row: Row = REACQUIRE.decode_first(&answer)?.ok_or_else(|| REACQUIRE.unexpected("no row"))?;
        let Row { outcome, available_quantity, reservation } = row;
        return match outcome {
            Outcome::Confirmed => Ok(Reacquire::Reacquired(reservation)),
            Outcome::AlreadyConfirmed => Ok(Reacquire::AlreadyConfirmed(reservation)),
            Outcome::InsufficientAvailability => REACQUIRE
                .refuse_if_certain(in_doubt, Reacquire::InsufficientAvailability { reservation, available_quantity }),
            Outcome::Moved => {
                moved_count += 1;
                continue;
            }
        };
    }
}
