//! Read one reservation.

use uuid::Uuid;

use crate::bucket::bucket;
use crate::db::fetch::Fetch;
use crate::error::Error;
use crate::reservation::Reservation;
use crate::statement::{Statement, Value, statement};

const GET_RESERVATION: Statement = statement!("get_reservation");

/// The reservation, or none when there is no such reservation.
pub(crate) async fn get_reservation(
    fetch: &mut impl Fetch,
    reservation_id: Uuid,
) -> Result<Option<Reservation>, Error> {
    let values = [Value::Uuid(reservation_id), Value::Bucket(bucket(reservation_id))];
    let answer = fetch.fetch(&GET_RESERVATION, &values).await?;
    GET_RESERVATION.decode_first(&answer)
}
