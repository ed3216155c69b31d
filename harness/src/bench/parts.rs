//! The parts of a benchmark, in the order they are measured: what is compared with each other stands close together.

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use serde::Deserialize;
use url::Url;

use crate::{
    bench::{
        Bench, Label, Part, about,
        baseline::{self, DatabaseCaller, Statement},
        calls::{HttpCaller, Script},
        cold_start,
        delay::Delay,
        figures::{Point, Setup},
        growth,
        latency::Quantiles,
        load::{Caller, Pace},
        lone_call,
        program::{Launch, Program},
        scenario::Scenario,
        stock::{Change, Stock},
    },
    connection::Origin,
};

/// Units of an item that never runs out.
const ENDLESS: i64 = 1_000_000_000;
/// Connections the database keeps for whoever is not a client of a baseline.
const CONNECTIONS_SPARED: u32 = 20;
const STARTS: usize = 20;
/// Shares of what the closed loop reached, in which the open loop asks.
const OPEN_SHARES: [f64; 2] = [0.5, 0.8];
const OPEN_CONNECTIONS: u32 = 64;
const LIBRARY_CALLERS: u32 = 200;
const GROWTH_CONNECTIONS: u32 = 64;

/// Measures all parts that are wanted.
pub async fn all(bench: &mut Bench<'_>) -> Result<(), String> {
    let options = bench.options;
    let service = serve(bench, &options.database_url, "serve", None).await?;
    let known = about::database(&options.database_url).await.map_err(|error| format!("the settings: {error}"))?;
    bench.about(known);
    bench.about([("connections of one service".to_owned(), options.serve_connections.to_string())].into());
    baseline::prepare(&options.database_url).await.map_err(|error| format!("the baselines' tables: {error}"))?;
    if options.wants(Part::Baselines) {
        baselines(bench, &service).await?;
    }
    if options.wants(Part::Express) {
        express(bench).await?;
    }
    if options.wants(Part::Library) {
        library(bench, &service).await?;
    }
    if options.wants(Part::OneProcess) {
        for scenario in options.scenarios() {
            http(bench, scenario, Setup::OneProcess, 0, &[&service], &options.connections()).await?;
        }
    }
    if options.wants(Part::OpenLoop) {
        open_loop(bench, &service).await?;
    }
    if options.wants(Part::TwoProcesses) {
        let other = serve(bench, &options.database_url, "serve-2", None).await?;
        for scenario in some(bench, &[Scenario::Hot, Scenario::Uniform]) {
            http(bench, scenario, Setup::TwoProcesses, 0, &[&service, &other], &options.connections()).await?;
        }
        other.stop().await;
    }
    if options.wants(Part::FarAway) {
        far_away(bench).await?;
    }
    if options.wants(Part::LoneCall) {
        lone(bench).await?;
    }
    if options.wants(Part::ColdStart) {
        cold_starts(bench).await?;
    }
    if options.wants(Part::Growth) {
        grow(bench, &service).await?;
    }
    service.stop().await;
    Ok(())
}

/// Of the scenarios asked for these, or all of them with `--full`.
fn some(bench: &Bench<'_>, usual: &[Scenario]) -> Vec<Scenario> {
    let full = bench.options.full;
    bench.options.scenarios().into_iter().filter(|scenario| full || usual.contains(scenario)).collect()
}

async fn serve(
    bench: &Bench<'_>,
    database_url: &str,
    name: &str,
    variable: Option<(&str, &str)>,
) -> Result<Program, String> {
    let options = bench.options;
    let log = options.log_dir.as_ref().map(|directory| directory.join(format!("bench-{name}.log")));
    let mut launch = Launch::serve(&options.serve, database_url, options.serve_connections, log);
    if let Some((name, value)) = variable {
        launch = launch.with(name, value);
    }
    launch.start().await.map(|(program, _)| program)
}

async fn stock(bench: &Bench<'_>, item_count: u32) -> Result<Arc<Stock>, String> {
    Stock::create(&bench.options.database_url, item_count, ENDLESS).await
}

/// Callers of one script, spread over the processes.
fn callers(bench: &Bench<'_>, count: u32, script: &Script, stock: &Arc<Stock>, origins: &[Arc<Origin>]) -> Vec<HttpCaller> {
    let each = |(number, origin): (u32, &Arc<Origin>)| {
        let seed = bench.seed.fork("caller", u64::from(number));
        HttpCaller::new(Arc::clone(origin), script.clone(), Arc::clone(stock), seed)
    };
    (0..count).zip(origins.iter().cycle()).map(each).collect()
}

/// One scenario with ever more connections; each point on items of its own, audited right after.
async fn http(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    setup: Setup,
    old_reservations: u64,
    services: &[&Program],
    connections: &[u32],
) -> Result<(), String> {
    for count in connections {
        let label = Label { series: scenario.word(), setup, old_reservations, pace: Pace::Closed };
        point(bench, scenario, label, services, *count).await?;
    }
    Ok(())
}

async fn point(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    label: Label<'_>,
    services: &[&Program],
    connections: u32,
) -> Result<(), String> {
    let database_url = &bench.options.database_url;
    let origins: Vec<_> = services.iter().map(|service| Arc::clone(&service.origin)).collect();
    let stock = Stock::create(database_url, scenario.item_count(), scenario.total_quantity()).await?;
    if scenario == Scenario::SoldOut {
        for mut first in callers(bench, 1, &Script::Reserve, &stock, &origins) {
            first.connect().await?;
            first.call().await?;
        }
    }
    let callers = callers(bench, connections, &scenario.script(), &stock, &origins);
    let pids = services.iter().map(|service| service.pid()).collect();
    let measured = bench.measure(label, callers, pids).await?;
    if scenario.item_count() == 1 && measured.calls > 0 {
        measured.batches = stock.batches(database_url).await?;
    }
    if let Some(origin) = origins.first() {
        let what = format!("{}, {}, {connections} connections", label.series, label.setup.told());
        let settled = stock.settle(origin).await;
        bench.expect(&what, settled);
    }
    Ok(())
}

/// The database alone: how fast a row can be changed, a round trip made, a reservation written.
async fn baselines(bench: &mut Bench<'_>, service: &Program) -> Result<(), String> {
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

async fn database(
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
async fn clients(bench: &mut Bench<'_>) -> Result<Vec<u32>, String> {
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
async fn express(bench: &mut Bench<'_>) -> Result<(), String> {
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
async fn library(bench: &mut Bench<'_>, service: &Program) -> Result<(), String> {
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
    eprintln!("  {}", super::summary::line(&point));
    bench.figures.points.push(point);
    let settled = stock.settle(&service.origin).await;
    bench.expect("hot, library", settled);
    Ok(())
}

/// Calls that fall due whatever becomes of the others: what a customer waits when nobody waits for him to ask.
async fn open_loop(bench: &mut Bench<'_>, service: &Program) -> Result<(), String> {
    for scenario in some(bench, &[Scenario::Hot, Scenario::Uniform]) {
        let series = scenario.word();
        let closed = bench.figures.closed(series, Setup::OneProcess).max_by_key(|point| point.connections);
        let Some(reached) = closed.map(|point| point.per_second).filter(|reached| *reached > 0.0) else {
            bench.note(format!("no open loop of {series}: its rate is a share of the closed loop's, which was not measured"));
            continue;
        };
        for share in OPEN_SHARES {
            let pace = Pace::Open((reached * share).max(1.0).round());
            let label = Label { series, setup: Setup::OneProcess, old_reservations: 0, pace };
            point(bench, scenario, label, &[service], OPEN_CONNECTIONS).await?;
        }
    }
    Ok(())
}

/// Half the round trip on the way there, half on the way back.
async fn far_away(bench: &mut Bench<'_>) -> Result<(), String> {
    let options = bench.options;
    let mut url = Url::parse(&options.database_url).map_err(|error| format!("the database's URL: {error}"))?;
    let upstream = format!("{}:{}", url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(5432));
    let one_way = Duration::from_secs_f64(options.round_trip_ms.max(0.0) / 2_000.0);
    let delay = Delay::start(upstream, one_way).await.map_err(|error| format!("the delaying proxy: {error}"))?;
    url.set_host(Some("127.0.0.1")).map_err(|error| error.to_string())?;
    url.set_port(Some(delay.address.port())).map_err(|()| "the database's URL has no port".to_owned())?;
    bench.about([("round trip to the database far away".to_owned(), format!("{} ms more", options.round_trip_ms))].into());

    let service = serve(bench, url.as_str(), "serve-far-away", None).await?;
    for count in clients(bench).await? {
        let setup = Setup::DatabaseFarAway;
        let label = Label { series: "transaction", setup, old_reservations: 0, pace: Pace::Closed };
        database(bench, label, url.as_str(), Statement::Transaction, 1, count, &service).await?;
    }
    for scenario in some(bench, &[Scenario::Hot]) {
        http(bench, scenario, Setup::FarAway, 0, &[&service], &options.connections()).await?;
    }
    service.stop().await;
    Ok(())
}

async fn lone(bench: &mut Bench<'_>) -> Result<(), String> {
    let options = bench.options;
    let on = serve(bench, &options.database_url, "serve-on", None).await?;
    let off = serve(bench, &options.database_url, "serve-off", Some(("COALESCING", "off"))).await?;
    let (on_stock, off_stock) = (stock(bench, 1).await?, stock(bench, 1).await?);
    let measured = lone_call::measure(
        (Arc::clone(&on.origin), Arc::clone(&on_stock)),
        (Arc::clone(&off.origin), Arc::clone(&off_stock)),
        options.warm_up,
        // Two per cent are little: it takes some thousands of calls to see them.
        options.measured() * 3,
        bench.seed.fork("lone call", 0),
    )
    .await?;
    eprintln!(
        "  lone call: p50 {:.0} µs with coalescing, {:.0} µs without: {:.3} ({:.3} to {:.3})",
        measured.on.p50_us, measured.off.p50_us, measured.ratio, measured.interval.0, measured.interval.1
    );
    bench.figures.lone_call = Some(measured);
    for (stock, service) in [(on_stock, &on), (off_stock, &off)] {
        let settled = stock.settle(&service.origin).await;
        bench.expect("a lone call", settled);
    }
    on.stop().await;
    off.stop().await;
    Ok(())
}

async fn cold_starts(bench: &mut Bench<'_>) -> Result<(), String> {
    let options = bench.options;
    let Some(directory) = &options.functions else {
        bench.note("no cold start was measured: no --functions");
        return Ok(());
    };
    let stock = stock(bench, 1).await?;
    let item = format!("/v1/items/{}", stock.item_ids.first().map(ToString::to_string).unwrap_or_default());
    for (name, path, with_database) in [("openapi", "/openapi.json", false), ("get_item", &item, true)] {
        let program = directory.join(Path::new(name).with_extension(std::env::consts::EXE_EXTENSION));
        let starts = cold_start::measure(&program, path, &options.database_url, with_database, STARTS).await?;
        eprintln!(
            "  cold start of {name}: median {:.1} ms ({:.1} to {:.1}), {:.1} MB",
            starts.median_ms,
            starts.fastest_ms,
            starts.slowest_ms,
            starts.size_bytes as f64 / 1e6
        );
        // The item's path is another in every run.
        bench.figures.starts.push(if with_database {
            super::figures::Starts { path: "/v1/items/{id}".to_owned(), ..starts }
        } else {
            starts
        });
    }
    Ok(())
}

/// The same load on tables that hold more and more, then a sweep.
async fn grow(bench: &mut Bench<'_>, service: &Program) -> Result<(), String> {
    let options = bench.options;
    let connections = options.connections().into_iter().max().unwrap_or(1).min(GROWTH_CONNECTIONS);
    let mut present = 0;
    for count in options.growth() {
        if count > present {
            eprintln!("  writing {} old reservations …", count - present);
            growth::fill(&options.database_url, present, count)
                .await
                .map_err(|error| format!("the old reservations cannot be written: {error}"))?;
            present = count;
        }
        for scenario in options.scenarios() {
            // With nothing old in the tables that was measured already, unless only this part was asked for.
            if count > 0 || bench.figures.find(scenario.word(), Setup::OneProcess, connections).is_none() {
                http(bench, scenario, Setup::OneProcess, count, &[service], &[connections]).await?;
            }
        }
    }
    eprintln!("  writing {} lapsed holds, then sweeping …", options.lapsed);
    let field = growth::Field {
        database_url: &options.database_url,
        origin: Arc::clone(&service.origin),
        pid: service.pid(),
        stock: stock(bench, 1_000).await?,
        holds: options.lapsed,
        measured: options.measured() * 2,
        seed: bench.seed.fork("sweep", 0),
    };
    let stock = Arc::clone(&field.stock);
    let sweep = growth::sweep(field, &mut bench.figures.failures).await?;
    eprintln!(
        "  sweep: {:.0} holds/s; reserve p99 {:.1} ms, {:.1} ms meanwhile; longest wait for a row {:.1} ms",
        sweep.expired_per_second,
        sweep.quiet.p99_us / 1e3,
        sweep.meanwhile.p99_us / 1e3,
        sweep.lock_wait.max_us / 1e3
    );
    if !sweep.covered {
        bench.note("the sweep was over before the reservations beside it were: its effect is diluted");
    }
    bench.figures.sweep = Some(sweep);
    let settled = stock.settle(&service.origin).await;
    bench.expect("reservations beside the sweep", settled);
    Ok(())
}
