//! `POST /v1/reservations/{id}/return`: take units of a confirmed reservation back to the shelf; safe to repeat under a key.

use std::process::ExitCode;

use stockhold::http::endpoints::return_units;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&return_units::ENDPOINT]).await
}
