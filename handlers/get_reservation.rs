//! `GET /v1/reservations/{id}`: read one reservation.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::GET_RESERVATION]).await
}
