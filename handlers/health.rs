//! `GET /v1/health`: ask whether the service and its database are up.

use std::process::ExitCode;

use stockhold::http::endpoints::health;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&health::ENDPOINT]).await
}
