//! `GET /v1/reservations/{id}`: read one reservation; a lapsed hold reads EXPIRED, recorded or not.

use std::process::ExitCode;

use stockhold::http::endpoints::get_reservation;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&get_reservation::ENDPOINT]).await
}
