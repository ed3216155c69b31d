//! `POST /v1/reservations/{id}/cancel`: give held units back.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::CANCEL]).await
}
