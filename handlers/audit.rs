//! `GET /v1/items/{id}/audit`: compare one item's books.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::AUDIT]).await
}
