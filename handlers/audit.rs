//! `GET /v1/items/{id}/audit`: compare an item's counters with its reservations and its ledger, from one snapshot.

use std::process::ExitCode;

use stockhold::http::endpoints::audit;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([&audit::ENDPOINT]).await
}
