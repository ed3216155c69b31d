//! What every function file runs: its endpoints behind Vercel's runtime, or AWS Lambda's where that is the host.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, to_bytes};
use stockhold::http::{Access, Endpoint, Service, router};
use stockhold::{Config, Inventory};
use tower::ServiceExt;
use tracing_subscriber::EnvFilter;

/// Answers the endpoints until the host ends the process. The first request connects to the database.
pub async fn run(endpoints: impl IntoIterator<Item = &'static Endpoint>) -> ExitCode {
    log_to_stdout();
    exit_code(serve(endpoints).await)
}

async fn serve(endpoints: impl IntoIterator<Item = &'static Endpoint>) -> Result<()> {
    let inventory = Inventory::connect_lazily(&Config::from_env()?)?;
    let router = router(Service::new(inventory, Access::from_env()), endpoints);
    let served = if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        lambda_http::run(router).await
    } else {
        let function = vercel_runtime::service_fn(move |request| answer(router.clone(), request));
        vercel_runtime::run(function).await
    };
    served.map_err(anyhow::Error::from_boxed)
}

async fn answer(
    router: Router,
    request: vercel_runtime::Request,
) -> Result<vercel_runtime::Response<vercel_runtime::ResponseBody>, vercel_runtime::Error> {
    // The router answers every request, and its bodies are in memory: neither can fail.
    let response = router.oneshot(request.map(Body::new)).await?;
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    Ok(vercel_runtime::Response::from_parts(parts, bytes.into()))
}

/// Logs lines of JSON, or plain lines on a terminal; `RUST_LOG` chooses which.
pub fn log_to_stdout() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    if std::io::stdout().is_terminal() {
        subscriber.init();
    } else {
        subscriber.json().flatten_event(true).init();
    }
}

/// One clear line on standard error, and 1, when a process could not do its work.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
