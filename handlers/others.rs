//! The endpoints that share a function: get_reservation, get_ledger, audit, health.

use std::process::ExitCode;

use stockhold::http::endpoints::{audit, get_ledger, get_reservation, health};

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&audit::ENDPOINT, &get_ledger::ENDPOINT, &get_reservation::ENDPOINT, &health::ENDPOINT])
        .await
}
