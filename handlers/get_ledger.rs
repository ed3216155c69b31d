//! `GET /v1/items/{id}/ledger`: read one item's history.

use std::process::ExitCode;

use stockhold::http::endpoints;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&endpoints::GET_LEDGER]).await
}
