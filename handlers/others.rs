//! The endpoints that share a function: return_units, get_reservation, get_ledger, audit, health.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run(endpoints::shared()).await
}
