//! `GET /v1/health`: ask whether the service and its database are up.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::HEALTH]).await
}
