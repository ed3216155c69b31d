//! `GET /v1/reservations/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::Id;
use crate::http::service::Service;
use crate::reservation::{Reservation, Status};

/// Read one reservation.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "get_reservation",
    methods: &["GET"],
    path: "/v1/reservations/{id}",
    access: AccessRule::ApiKey,
    function: Function::Shared,
    summary: "Read one reservation; a lapsed hold reads EXPIRED, recorded or not",
    handlers: || get(get_reservation),
    describe: Some(|call| {
        call.id("The reservation's id.", example::RESERVATION_ID)
            .answers::<Reservation>(StatusCode::OK, example::reservation(Status::Pending))
            .refuses([Code::ReservationNotFound])
    }),
};

async fn get_reservation(State(service): State<Service>, Id(reservation_id): Id) -> Answer {
    ok(&service.inventory.get_reservation(reservation_id).await?.ok_or_else(Problem::reservation_not_found)?)
}
