//! `POST /v1/maintenance/expire-reservations`: record lapsed holds as EXPIRED; `GET` for the platform's cron.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::EXPIRE]).await
}
