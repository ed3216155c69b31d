//! `GET /v1/health`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde::Serialize;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::problem::{Code, Problem};
use crate::http::service::Service;

/// Ask whether the service and its database are up.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "health",
    methods: &["GET"],
    path: "/v1/health",
    access: AccessRule::Open,
    function: Function::Shared,
    summary: "Ask whether the service and its database are up",
    handlers: || get(health),
    describe: Some(|call| {
        call.answers::<Health>(StatusCode::OK, Health { status: "ok", migration_version: 1, round_trip_ms: 0.4 })
    }),
};

/// The service's state, as it is answered.
#[derive(Serialize, schemars::JsonSchema)]
struct Health {
    /// Always `ok`: anything else is a 503.
    status: &'static str,
    /// The newest migration applied.
    migration_version: i32,
    /// How long the database took to answer, in milliseconds.
    round_trip_ms: f64,
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
    ok(&Health { status: "ok", migration_version, round_trip_ms })
}
