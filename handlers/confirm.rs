//! `POST /v1/reservations/{id}/confirm`: deduct held units for good.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::CONFIRM]).await
}
