//! The examples of the OpenAPI document: an item, a reservation of it, and each problem.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{Uuid, uuid};

use super::problem::{Code, FieldError, Problem, ProblemBody};
use crate::item::{Item, Metadata};
use crate::reservation::{Reservation, Status};

pub(super) const ITEM_ID: Uuid = uuid!("0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e");
pub(super) const RESERVATION_ID: Uuid = uuid!("0197f3a0-6f20-7d11-8e4f-0b7c9a3d4d5e");
const REQUEST_ID: &str = "0197f3a0-7a00-7000-8000-000000000001";

/// 2026-01-02T03:04:05Z and some seconds.
pub(super) fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_767_323_045 + seconds)
}

pub(super) fn item() -> Item {
    Item {
        id: ITEM_ID,
        name: "Front row".to_owned(),
        sku: Some("FR-1".to_owned()),
        total_quantity: 50,
        available_quantity: 50,
        held_quantity: 0,
        confirmed_quantity: 0,
        version: 1,
        metadata: Metadata::default(),
        created_at: instant(0),
        updated_at: instant(0),
    }
}

pub(super) fn reservation(status: Status) -> Reservation {
    let ended = |end: Status| (status == end).then(|| instant(60));
    Reservation {
        id: RESERVATION_ID,
        item_id: ITEM_ID,
        customer_id: "customer-7".to_owned(),
        quantity: 2,
        confirmed_quantity: if status == Status::Confirmed { 2 } else { 0 },
        returned_quantity: 0,
        status,
        basket_id: None,
        created_at: instant(0),
        expires_at: instant(600),
        confirmed_at: ended(Status::Confirmed),
        cancelled_at: ended(Status::Cancelled),
        expired_at: (status == Status::Expired).then(|| instant(600)),
    }
}

/// A problem as a caller sees it, with the members that come with its code.
pub(super) fn problem(code: Code) -> serde_json::Value {
    let ended = |status| Problem::reservation_ended(code, "ended", &reservation(status));
    let problem = match code {
        Code::InsufficientAvailability => Problem::insufficient_availability(1, 2),
        Code::ReservationExpired => ended(Status::Expired),
        Code::ReservationConfirmed => ended(Status::Confirmed),
        Code::ReservationCancelled => ended(Status::Cancelled),
        Code::ReservationNotConfirmed => Problem::reservation_not_confirmed(&reservation(Status::Pending)),
        Code::ReturnExceedsConfirmed => Problem::return_exceeds_confirmed(&reservation(Status::Confirmed), 3),
        Code::ValidationFailed => Problem::validation(vec![FieldError {
            pointer: "/quantity".to_owned(),
            detail: "must be an integer from 1 to 1000000, is 0".to_owned(),
        }]),
        code => Problem::new(code, "What is wrong this time, and what to do."),
    };
    let body: ProblemBody = problem.body(REQUEST_ID);
    serde_json::json!(body)
}
