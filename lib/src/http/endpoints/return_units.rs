//! `POST /v1/reservations/{id}/return`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, done};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::{Body, Id, Key, from_fields};
use crate::http::service::Service;
use crate::ops::return_units::{NewReturn, Return};
use crate::reservation::{Reservation, Status};

/// Take sold units back.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "return_units",
    methods: &["POST"],
    path: "/v1/reservations/{id}/return",
    access: AccessRule::ApiKey,
    function: Function::Shared,
    summary: "Take units of a confirmed reservation back to the shelf; safe to repeat under a key",
    handlers: || post(return_units),
    describe: Some(|call| {
        let returned = Reservation { returned_quantity: 1, ..example::reservation(Status::Confirmed) };
        call.id("The reservation's id.", example::RESERVATION_ID)
            .idempotency_key()
            .body::<NewReturn>(true, json!({ "quantity": 1 }))
            .answers::<Reservation>(StatusCode::OK, returned)
            .refuses([Code::ReservationNotFound, Code::ReservationNotConfirmed, Code::ReturnExceedsConfirmed])
    }),
};

from_fields! { NewReturn { quantity: required } }

async fn return_units(
    State(service): State<Service>,
    Id(reservation_id): Id,
    Key(key): Key,
    Body(new_return): Body<NewReturn>,
) -> Answer {
    match service.inventory.return_units(reservation_id, new_return, key).await? {
        Return::Returned(reservation) => done(&reservation, false),
        Return::Replayed(reservation) => done(&reservation, true),
        Return::ReservationNotFound => Err(Problem::reservation_not_found()),
        Return::NotConfirmed(reservation) => Err(Problem::reservation_not_confirmed(&reservation)),
        Return::ExceedsConfirmed(reservation) => {
            Err(Problem::return_exceeds_confirmed(&reservation, new_return.quantity.get()))
        }
        Return::IdempotencyKeyReused => Err(Problem::idempotency_key_reused()),
    }
}
