//! `POST /v1/reservations/{id}/cancel`: give a held reservation's units back; safe to repeat.

use std::process::ExitCode;

use stockhold::http::endpoints::cancel;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&cancel::ENDPOINT]).await
}
