//! `GET /v1/items/{id}`: read one item.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::GET_ITEM]).await
}
