//! `POST /v1/reservations/{id}/cancel`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::{Id, NoFields, OptionalBody};
use crate::http::service::Service;
use crate::ops::cancel::Cancel;
use crate::reservation::{Reservation, Status};

/// Give held units back.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "cancel",
    methods: &["POST"],
    path: "/v1/reservations/{id}/cancel",
    access: AccessRule::ApiKey,
    function: Function::Own,
    summary: "Give a held reservation's units back; safe to repeat",
    handlers: || post(cancel),
    describe: Some(|call| {
        call.id("The reservation's id.", example::RESERVATION_ID)
            .body::<NoFields>(false, json!({}))
            .answers::<Reservation>(StatusCode::OK, example::reservation(Status::Cancelled))
            .refuses([Code::ReservationNotFound, Code::ReservationConfirmed, Code::ReservationExpired])
    }),
};

async fn cancel(
    State(service): State<Service>,
    Id(reservation_id): Id,
    OptionalBody(NoFields {}): OptionalBody<NoFields>,
) -> Answer {
    let ended = |code, reservation: &Reservation| Err(Problem::reservation_ended(code, "cancelled", reservation));
    match service.inventory.cancel(reservation_id).await? {
        Cancel::Cancelled(reservation) | Cancel::AlreadyCancelled(reservation) => ok(&reservation),
        Cancel::ReservationNotFound => Err(Problem::reservation_not_found()),
        Cancel::AlreadyConfirmed(reservation) => ended(Code::ReservationConfirmed, &reservation),
        Cancel::Expired(reservation) => ended(Code::ReservationExpired, &reservation),
    }
}
