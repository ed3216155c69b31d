//! The endpoints that share a function: get_reservation, get_ledger, audit, health.

use std::process::ExitCode;

use stockhold::http::endpoints::{get_reservation, get_ledger, audit, health};

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&get_reservation::ENDPOINT, &get_ledger::ENDPOINT, &audit::ENDPOINT, &health::ENDPOINT]).await
}
