//! `POST /v1/items`: create an item with its units.

use std::process::ExitCode;

use stockhold::http::endpoints::create_item;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&create_item::ENDPOINT]).await
}
