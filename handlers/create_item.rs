//! `POST /v1/items`: create an item with its units.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::CREATE_ITEM]).await
}
