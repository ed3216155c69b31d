//! `POST /v1/reservations/{id}/confirm`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::{Id, OptionalBody, from_fields};
use crate::http::service::Service;
use crate::ops::confirm::{Confirm, ConfirmOptions};
use crate::reservation::{Reservation, Status};

/// Deduct held units for good.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "confirm",
    methods: &["POST"],
    path: "/v1/reservations/{id}/confirm",
    access: AccessRule::ApiKey,
    function: Function::Own,
    summary: "Deduct a held reservation's units for good; safe to repeat",
    handlers: || post(confirm),
    describe: Some(|call| {
        call.id("The reservation's id.", example::RESERVATION_ID)
            .body::<ConfirmOptions>(false, json!({ "if_expired": "reacquire" }))
            .answers::<Reservation>(StatusCode::OK, example::reservation(Status::Confirmed))
            .refuses([Code::ReservationNotFound, Code::ReservationExpired, Code::ReservationCancelled])
    }),
};

from_fields! { ConfirmOptions { if_expired: optional } }

async fn confirm(
    State(service): State<Service>,
    Id(reservation_id): Id,
    OptionalBody(options): OptionalBody<ConfirmOptions>,
) -> Answer {
    let ended = |code, reservation: &Reservation| Problem::reservation_ended(code, "confirmed", reservation);
    match service.inventory.confirm(reservation_id, options).await? {
        Confirm::Confirmed(reservation) | Confirm::AlreadyConfirmed(reservation) => ok(&reservation),
        Confirm::ReservationNotFound => Err(Problem::reservation_not_found()),
        Confirm::AlreadyCancelled(reservation) => Err(ended(Code::ReservationCancelled, &reservation)),
        Confirm::Expired { reservation, available_quantity: None } => {
            Err(ended(Code::ReservationExpired, &reservation))
        }
        Confirm::Expired { reservation, available_quantity: Some(available_quantity) } => {
            Err(ended(Code::ReservationExpired, &reservation).with_quantities(available_quantity, reservation.quantity))
        }
    }
}
