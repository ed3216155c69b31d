//! `POST /v1/reservations`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, created};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::{Body, Key, from_fields};
use crate::http::service::Service;
use crate::ops::reserve::{NewReservation, Reserve};
use crate::reservation::{Reservation, Status};

/// Hold units.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "reserve",
    methods: &["POST"],
    path: "/v1/reservations",
    access: AccessRule::ApiKey,
    function: Function::Own,
    summary: "Hold units of one item for a customer until a deadline",
    handlers: || post(reserve),
    describe: Some(|call| {
        let body = json!({
            "item_id": example::ITEM_ID, "customer_id": "customer-7", "quantity": 2, "ttl_seconds": 300
        });
        call.idempotency_key()
            .body::<NewReservation>(true, body)
            .answers::<Reservation>(StatusCode::CREATED, example::reservation(Status::Pending))
            .refuses([Code::ItemNotFound, Code::InsufficientAvailability])
    }),
};

from_fields! {
    NewReservation { item_id: required, customer_id: required, quantity: required, ttl_seconds: optional }
}

async fn reserve(State(service): State<Service>, Key(key): Key, Body(new_reservation): Body<NewReservation>) -> Answer {
    let made = |reservation: &Reservation, replayed| {
        created(&format!("/v1/reservations/{}", reservation.id), reservation, replayed)
    };
    match service.inventory.reserve(new_reservation, key).await? {
        Reserve::Reserved(reservation) => made(&reservation, false),
        Reserve::Replayed(reservation) => made(&reservation, true),
        Reserve::ItemNotFound => Err(Problem::item_not_found()),
        Reserve::InsufficientAvailability { available_quantity, requested_quantity } => {
            Err(Problem::insufficient_availability(available_quantity, requested_quantity))
        }
        Reserve::IdempotencyKeyReused => Err(Problem::idempotency_key_reused()),
    }
}
