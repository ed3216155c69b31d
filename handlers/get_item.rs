//! `GET /v1/items/{id}`: read one item: total, available, held, confirmed.

use std::process::ExitCode;

use stockhold::http::endpoints::get_item;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&get_item::ENDPOINT]).await
}
