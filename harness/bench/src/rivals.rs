//! What the service is compared with: the database alone, an Express service, and itself without HTTP.

use std::{process::Stdio, sync::Arc, time::Duration};

use serde::Deserialize;

use crate::{
    Bench, Label,
    baseline::{self, DatabaseCaller, Statement},
    calls::Script,
    figures::{Point, Setup},
    latency::Quantiles,
    load::Pace,
    parts::{callers, stock},
    program::{Launch, Program},
    stock::Change,
    summary,
};

/// Connections the database keeps for whoever is not a client of a baseline.
const CONNECTIONS_SPARED: u32 = 20;
const LIBRARY_CALLERS: u32 = 200;

/// The database alone: how fast a row can be changed, a round trip made, a reservation written.
pub(super) async fn baselines(bench: &mut Bench<'_>, service: &Program) -> Result<(), String> {
    let connections = clients(bench).await?;
    let mut more = connections.clone();
    if bench.options.connections.is_empty() {
        // Where a hot row is fastest, few clients change it.
        more.extend([2, 4, 8]);
        more.sort_unstable();
    }
    for (series, statement, item_count, clients) in [
        ("select_1", Statement::SelectOne, 1, &connections),
        ("bare_update", Statement::BareUpdate, 1, &more),
        ("transaction", Statement::Transaction, 1, &connections),
        ("one_statement", Statement::OneStatement, 1, &connections),
        ("one_statement_1000", Statement::OneStatement, 1_000, &connections),
    ] {
        for count in clients {
            let database_url = bench.options.database_url.clone();
            let label = Label { series, setup: Setup::Database, old_reservations: 0, pace: Pace::Closed };
            database(bench, label, &database_url, statement, item_count, *count, service).await?;
        }
    }
    Ok(())
}

pub(super) async fn database(
    bench: &mut Bench<'_>,
    label: Label<'_>,
    database_url: &str,
    statement: Statement,
    item_count: u32,
    clients: u32,
    service: &Program,
) -> Result<(), String> {
    // Whatever lies between the clients and the database, the rows are made and read directly.
    let direct = &bench.options.database_url;
    let stock = stock(bench, item_count).await?;
    baseline::mirror(direct, &stock).await.map_err(|error| error.to_string())?;
    let callers = (0..clients)
        .map(|number| {
            let seed = bench.seed.fork(label.series, u64::from(number));
            DatabaseCaller::new(database_url, statement, Arc::clone(&stock), seed)
        })
        .collect::<Result<Vec<_>, _>>()?;
    bench.measure(label, callers, Vec::new()).await?;
    let settled = match statement {
        Statement::SelectOne => Ok(()),
        Statement::OneStatement => stock.settle(&service.origin).await,
        Statement::BareUpdate | Statement::Transaction => baseline::settle(direct, &stock, statement).await,
    };
    bench.expect(&format!("{}, {clients} clients", label.series), settled);
    Ok(())
}

/// As many clients as asked for, or as the database lets in.
pub(super) async fn clients(bench: &mut Bench<'_>) -> Result<Vec<u32>, String> {
    let allowed = bench.figures.about.get("postgresql max_connections").and_then(|text| text.parse::<u32>().ok());
    let most = allowed.unwrap_or(100).saturating_sub(bench.options.serve_connections + CONNECTIONS_SPARED).max(1);
    let mut clients: Vec<u32> = bench.options.connections().into_iter().map(|count| count.min(most)).collect();
    clients.dedup();
    if bench.options.connections().iter().any(|count| *count > most) {
        bench.note(format!("max_connections leaves the baselines no more than {most} clients"));
    }
    Ok(clients)
}

/// A transaction for each request, as most services do it.
pub(super) async fn express(bench: &mut Bench<'_>) -> Result<(), String> {
    let options = bench.options;
    let Some(script) = &options.express else {
        bench.note("Express was not measured: no --express");
        return Ok(());
    };
    let launch = Launch {
        command: vec!["node".to_owned(), script.display().to_string()],
        environment: vec![
            ("DATABASE_URL".to_owned(), options.database_url.clone()),
            ("NODE_ENV".to_owned(), "production".to_owned()),
        ],
        port_variable: "PORT",
        ready_path: "/health".to_owned(),
        ready_status: 200,
        poll: Duration::from_millis(20),
        log: options.log_dir.as_ref().map(|directory| directory.join("bench-express.log")),
    };
    let (service, _) = launch.start().await?;
    for count in options.connections() {
        let stock = stock(bench, 1).await?;
        baseline::mirror(&options.database_url, &stock).await.map_err(|error| error.to_string())?;
        let callers = callers(bench, count, &Script::ReserveAtExpress, &stock, &[Arc::clone(&service.origin)]);
        let label = Label { series: "hot", setup: Setup::Express, old_reservations: 0, pace: Pace::Closed };
        bench.measure(label, callers, vec![service.pid()]).await?;
        let settled = baseline::settle(&options.database_url, &stock, Statement::Transaction).await;
        bench.expect(&format!("hot, Express, {count} connections"), settled);
    }
    service.stop().await;
    Ok(())
}

/// What the example `hot_item` prints.
#[derive(Deserialize)]
struct LibraryLoad {
    reserved_count: u64,
    calls: u64,
    seconds: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

/// The library without HTTP. A program of its own, because the harness knows nothing of the library.
pub(super) async fn library(bench: &mut Bench<'_>, service: &Program) -> Result<(), String> {
    let options = bench.options;
    let Some(program) = &options.library else {
        bench.note("the library was not measured alone: no --library");
        return Ok(());
    };
    let count = options.connections().into_iter().max().unwrap_or(LIBRARY_CALLERS);
    let stock = stock(bench, 1).await?;
    let item_id = stock.item_ids.first().map(ToString::to_string).unwrap_or_default();
    let seconds = [options.warm_up, options.measured()].map(|time| time.as_secs_f64().to_string());
    let output = tokio::process::Command::new(program)
        .args([&item_id, &count.to_string(), &seconds[0], &seconds[1]])
        .env("DATABASE_URL", &options.database_url)
        .env("DATABASE_MAX_CONNECTIONS", options.serve_connections.to_string())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    let load: LibraryLoad = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("{} failed ({})", program.display(), output.status))?;
    stock.count_many(Change::Reserved, load.reserved_count);
    let latency = Quantiles {
        p50_us: load.p50_us,
        p90_us: load.p90_us,
        p99_us: load.p99_us,
        p999_us: load.p999_us,
        max_us: load.max_us,
    };
    let point = Point {
        series: "hot".to_owned(),
        setup: Setup::Library,
        old_reservations: 0,
        connections: count,
        rate: None,
        calls: load.calls,
        errors: 0,
        seconds: load.seconds,
        per_second: load.calls as f64 / load.seconds,
        latency,
        corrected: latency,
        processor: None,
        batches: stock.batches(&options.database_url).await?,
    };
    eprintln!("  {}", summary::line(&point));
    bench.figures.points.push(point);
    let settled = stock.settle(&service.origin).await;
    bench.expect("hot, library", settled);
    Ok(())
}
