//! `GET /openapi.json`: the OpenAPI document.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::OPENAPI]).await
}
