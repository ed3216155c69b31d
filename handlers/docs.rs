//! `GET /docs`: Swagger UI and its assets.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::DOCS]).await
}
