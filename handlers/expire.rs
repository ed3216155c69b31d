//! `POST /v1/maintenance/expire-reservations`: record lapsed holds as EXPIRED and give their units back; safe to repeat.

use std::process::ExitCode;

use stockhold::http::endpoints::expire;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&expire::ENDPOINT]).await
}
