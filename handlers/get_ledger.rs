//! `GET /v1/items/{id}/ledger`: read an item's history in version order, a page at a time.

use std::process::ExitCode;

use stockhold::http::endpoints::get_ledger;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&get_ledger::ENDPOINT]).await
}
