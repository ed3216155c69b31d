//! `POST /v1/reservations/{id}/confirm`: deduct a held reservation's units for good; safe to repeat.

use std::process::ExitCode;

use stockhold::http::endpoints::confirm;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&confirm::ENDPOINT]).await
}
