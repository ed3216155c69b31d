//! `POST /v1/reservations`: hold units of one item for a customer until a deadline.

use std::process::ExitCode;

use stockhold::http::endpoints::reserve;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&reserve::ENDPOINT]).await
}
