//! Read one reservation.

use uuid::Uuid;

use crate::bucket::bucket;
use crate::db::Database;
use crate::error::Error;
use crate::reservation::Reservation;
use crate::statement::{Statement, Value, statement};

const GET_RESERVATION: Statement = statement!("get_reservation");

/// The reservation, or none when there is no such reservation.
pub(crate) async fn get_reservation(database: &Database, reservation_id: Uuid) -> Result<Option<Reservation>, Error> {
    let answer =
        database.fetch(&GET_RESERVATION, &[Value::Uuid(reservation_id), Value::Bucket(bucket(reservation_id))]).await?;
    GET_RESERVATION.decode_first(&answer)
}
