//! The endpoints: each reads a request, calls one operation, and answers its outcome. Every status is chosen here or in
//! `problem`, by a `match` without a wildcard.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use serde::Serialize;

use super::problem::{Code, Problem};
use super::request::{Body, Id, Key, LedgerPageQuery, NoFields, OptionalBody, write_cursor};
use super::routes::{self, Route};
use super::{Service, docs, json, openapi};
use crate::ledger::LedgerEntry;
use crate::ops::cancel::Cancel;
use crate::ops::confirm::{Confirm, ConfirmOptions};
use crate::ops::create_item::{CreateItem, NewItem};
use crate::ops::expire::ExpireOptions;
use crate::ops::reserve::{NewReservation, Reserve};

/// A route and what answers it.
pub struct Endpoint {
    /// Where it is.
    pub route: &'static Route,
    /// What answers its methods.
    pub handlers: fn() -> MethodRouter<Service>,
}

macro_rules! endpoints {
    ($($name:ident = $handlers:expr;)*) => {
        $(
            #[doc = concat!("Answers [`routes::", stringify!($name), "`].")]
            pub static $name: Endpoint = Endpoint { route: &routes::$name, handlers: || $handlers };
        )*

        /// Every endpoint.
        pub static ENDPOINTS: &[&Endpoint] = &[$(&$name),*];
    };
}

endpoints! {
    CREATE_ITEM = post(create_item);
    GET_ITEM = get(get_item);
    RESERVE = post(reserve);
    CONFIRM = post(confirm);
    CANCEL = post(cancel);
    EXPIRE = post(expire).get(expire);
    GET_RESERVATION = get(get_reservation);
    GET_LEDGER = get(get_ledger);
    AUDIT = get(audit);
    HEALTH = get(health);
    OPENAPI = get(openapi::serve);
    DOCS = get(docs::page);
}

type Answer = Result<Response, Problem>;

async fn create_item(State(service): State<Service>, Key(key): Key, Body(new_item): Body<NewItem>) -> Answer {
    match service.inventory.create_item(new_item, key).await? {
        CreateItem::Created(item) => Ok(created(&format!("/v1/items/{}", item.id), &item, false)),
        CreateItem::Replayed(item) => Ok(created(&format!("/v1/items/{}", item.id), &item, true)),
        CreateItem::IdempotencyKeyReused => Err(idempotency_key_reused()),
    }
}

async fn get_item(State(service): State<Service>, Id(item_id): Id) -> Answer {
    let status = service.inventory.get_item(item_id).await?.ok_or_else(item_not_found)?;
    Ok(json(StatusCode::OK, &status))
}

async fn reserve(State(service): State<Service>, Key(key): Key, Body(new_reservation): Body<NewReservation>) -> Answer {
    match service.inventory.reserve(new_reservation, key).await? {
        Reserve::Reserved(reservation) => {
            Ok(created(&format!("/v1/reservations/{}", reservation.id), &reservation, false))
        }
        Reserve::Replayed(reservation) => {
            Ok(created(&format!("/v1/reservations/{}", reservation.id), &reservation, true))
        }
        Reserve::ItemNotFound => Err(item_not_found()),
        Reserve::InsufficientAvailability { available_quantity, requested_quantity } => Err(Problem::new(
            Code::InsufficientAvailability,
            format!("{requested_quantity} were asked for and {available_quantity} were available."),
        )
        .with("available_quantity", available_quantity)
        .with("requested_quantity", requested_quantity)),
        Reserve::IdempotencyKeyReused => Err(idempotency_key_reused()),
    }
}

async fn confirm(
    State(service): State<Service>,
    Id(reservation_id): Id,
    OptionalBody(options): OptionalBody<ConfirmOptions>,
) -> Answer {
    match service.inventory.confirm(reservation_id, options).await? {
        Confirm::Confirmed(reservation) | Confirm::AlreadyConfirmed(reservation) => {
            Ok(json(StatusCode::OK, &reservation))
        }
        Confirm::ReservationNotFound => Err(reservation_not_found()),
        Confirm::AlreadyCancelled(reservation) => {
            Err(Problem::reservation_ended(Code::ReservationCancelled, "confirmed", &reservation))
        }
        Confirm::Expired { reservation, available_quantity } => {
            let problem = Problem::reservation_ended(Code::ReservationExpired, "confirmed", &reservation);
            Err(match available_quantity {
                Some(available_quantity) => problem
                    .with("available_quantity", available_quantity)
                    .with("requested_quantity", reservation.quantity),
                None => problem,
            })
        }
    }
}

async fn cancel(
    State(service): State<Service>,
    Id(reservation_id): Id,
    OptionalBody(NoFields): OptionalBody<NoFields>,
) -> Answer {
    match service.inventory.cancel(reservation_id).await? {
        Cancel::Cancelled(reservation) | Cancel::AlreadyCancelled(reservation) => {
            Ok(json(StatusCode::OK, &reservation))
        }
        Cancel::ReservationNotFound => Err(reservation_not_found()),
        Cancel::AlreadyConfirmed(reservation) => {
            Err(Problem::reservation_ended(Code::ReservationConfirmed, "cancelled", &reservation))
        }
        Cancel::Expired(reservation) => {
            Err(Problem::reservation_ended(Code::ReservationExpired, "cancelled", &reservation))
        }
    }
}

async fn expire(State(service): State<Service>, OptionalBody(options): OptionalBody<ExpireOptions>) -> Answer {
    Ok(json(StatusCode::OK, &service.inventory.expire(options).await?))
}

async fn get_reservation(State(service): State<Service>, Id(reservation_id): Id) -> Answer {
    let reservation = service.inventory.get_reservation(reservation_id).await?.ok_or_else(reservation_not_found)?;
    Ok(json(StatusCode::OK, &reservation))
}

/// A page of a ledger, as it is answered.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "LedgerPage")]
pub(crate) struct LedgerPageBody {
    /// In version order.
    pub entries: Vec<LedgerEntry>,
    /// What to send as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

async fn get_ledger(
    State(service): State<Service>,
    Id(item_id): Id,
    LedgerPageQuery(query): LedgerPageQuery,
) -> Answer {
    let page = service.inventory.get_ledger(item_id, query).await?.ok_or_else(item_not_found)?;
    let next_cursor = page.next_after_version.map(write_cursor);
    Ok(json(StatusCode::OK, &LedgerPageBody { entries: page.entries, next_cursor }))
}

async fn audit(State(service): State<Service>, Id(item_id): Id) -> Answer {
    let audit = service.inventory.audit(item_id).await?.ok_or_else(item_not_found)?;
    Ok(json(StatusCode::OK, &audit))
}

/// The service's state, as it is answered.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "Health")]
pub(crate) struct HealthBody {
    /// Always `ok`: anything else is a 503.
    pub status: &'static str,
    /// The newest migration applied.
    pub migration_version: i32,
    /// How long the database took to answer, in milliseconds.
    pub round_trip_ms: f64,
}

async fn health(State(service): State<Service>) -> Answer {
    let unavailable = |detail: &str| Problem::new(Code::DatabaseUnavailable, detail);
    let health = service.inventory.health().await.map_err(|error| {
        let mut problem = unavailable("The process is up; its database does not answer, or lacks the schema.");
        problem.cause = Some(error.to_string());
        problem
    })?;
    let migration_version =
        health.migration_version.ok_or_else(|| unavailable("The database answers; no migration was applied."))?;
    // To the microsecond.
    let round_trip_ms = (health.round_trip.as_secs_f64() * 1e6).round() / 1e3;
    Ok(json(StatusCode::OK, &HealthBody { status: "ok", migration_version, round_trip_ms }))
}

fn created(location: &str, body: &impl Serialize, replayed: bool) -> Response {
    let mut response = json(StatusCode::CREATED, body);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    response
}

fn item_not_found() -> Problem {
    Problem::new(Code::ItemNotFound, "No item has this id.")
}

fn reservation_not_found() -> Problem {
    Problem::new(Code::ReservationNotFound, "No reservation has this id.")
}

fn idempotency_key_reused() -> Problem {
    Problem::new(
        Code::IdempotencyKeyReused,
        "The first request under this key was another one. Repeat that one, or choose a new key.",
    )
}
