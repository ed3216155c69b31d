//! Every other path and method: 404 and 405.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    stockhold_handlers::run([]).await
}
