//! Every route in one process. `serve --migrate` brings the schema up to date first.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::serve::ListenerExt;
use stockhold::http::endpoints::ENDPOINTS;
use stockhold::http::{Access, Service, router};
use stockhold::{Config, Inventory};
use stockhold_handlers::{exit_code, log_to_stdout};
use tokio::net::TcpListener;

/// How long calls under way may take after the signal to stop.
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    log_to_stdout();
    exit_code(serve().await)
}

async fn serve() -> Result<()> {
    let mut migrate = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--migrate" => migrate = true,
            other => bail!("unknown argument {other:?}; usage: serve [--migrate]"),
        }
    }
    let inventory = Inventory::connect(&Config::from_env()?).await?;
    if migrate {
        inventory.migrate().await.context("the migration failed")?;
    }
    let host = read_variable("HOST", "127.0.0.1");
    let port = read_variable("PORT", "3000");
    let port: u16 = port.parse().with_context(|| format!("PORT is {port:?}; it must be a number to 65535"))?;
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?
        .tap_io(|stream| {
            // An answer is one small write; waiting to fill a packet only delays it.
            let _ = stream.set_nodelay(true);
        });
    tracing::info!(address = %axum::serve::Listener::local_addr(&listener)?, "listening");

    let router = router(Service::new(inventory, Access::from_env()), ENDPOINTS.iter().copied());
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, router).with_graceful_shutdown(async {
        stop_signal().await;
        tracing::info!("stopping");
        let _ = stopping.send(());
    });
    tokio::select! {
        result = server => result?,
        () = async {
            let _ = stopped.await;
            tokio::time::sleep(STOP_WAIT_MAX).await;
        } => tracing::warn!("stopped with calls under way"),
    }
    Ok(())
}

fn read_variable(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
}

async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
