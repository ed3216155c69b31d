//! The parts of a benchmark, in the order they are measured: what is compared with each other stands close together.

use std::{path::Path, sync::Arc, time::Duration};

use url::Url;

use crate::{
    Bench, Label, Part, about,
    baseline::{self, DatabaseCaller, Statement},
    calls::{HttpCaller, Script},
    cold_start,
    delay::Delay,
    figures::{Setup, Starts},
    growth,
    load::{Caller, Pace},
    lone_call,
    program::{Launch, Program},
    rivals::{baselines, clients, database, express, library},
    scenario::Scenario,
    stock::Stock,
};
use stockhold_harness::internal::target::Origin;

/// Units of an item that never runs out.
const ENDLESS: i64 = 1_000_000_000;
const STARTS: usize = 20;
/// Processes that stand for functions; a bare update of one row is fastest with as many clients.
const FUNCTIONS: u32 = 8;
/// Shares of what the closed loop reached, in which the open loop asks.
const OPEN_SHARES: [f64; 2] = [0.5, 0.8];
const OPEN_CONNECTIONS: u32 = 64;
const GROWTH_CONNECTIONS: u32 = 64;

/// Measures all parts that are wanted.
pub async fn all(bench: &mut Bench<'_>) -> Result<(), String> {
    let options = bench.options;
    let service = serve(bench, &options.database_url, "serve", &[]).await?;
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
        let other = serve(bench, &options.database_url, "serve-2", &[]).await?;
        for scenario in some(bench, &[Scenario::Hot, Scenario::Uniform]) {
            http(bench, scenario, Setup::TwoProcesses, 0, &[&service, &other], &options.connections()).await?;
        }
        other.stop().await;
    }
    if options.wants(Part::Functions) {
        functions(bench).await?;
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
    variables: &[(&str, &str)],
) -> Result<Program, String> {
    let options = bench.options;
    let log = options.log_dir.as_ref().map(|directory| directory.join(format!("bench-{name}.log")));
    let mut launch = Launch::serve(&options.serve, database_url, options.serve_connections, log);
    for (name, value) in variables {
        launch = launch.with(name, value);
    }
    launch.start().await.map(|(program, _)| program)
}

/// Many small processes on one hot item: nothing is shared between them but the row.
async fn functions(bench: &mut Bench<'_>) -> Result<(), String> {
    let mut processes = Vec::new();
    for number in 1..=FUNCTIONS {
        let variables = [("COALESCING", "off"), ("DATABASE_MAX_CONNECTIONS", "1")];
        let name = format!("function-{number}");
        processes.push(serve(bench, &bench.options.database_url, &name, &variables).await?);
    }
    let services: Vec<_> = processes.iter().collect();
    for scenario in some(bench, &[Scenario::Hot]) {
        http(bench, scenario, Setup::Functions, 0, &services, &[FUNCTIONS]).await?;
    }
    for process in processes {
        process.stop().await;
    }
    Ok(())
}

pub(super) async fn stock(bench: &Bench<'_>, item_count: u32) -> Result<Arc<Stock>, String> {
    Stock::create(&bench.options.database_url, item_count, ENDLESS).await
}

/// Callers of one script, spread over the processes.
pub(super) fn callers(
    bench: &Bench<'_>,
    count: u32,
    script: &Script,
    stock: &Arc<Stock>,
    origins: &[Arc<Origin>],
) -> Vec<HttpCaller> {
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
    if matches!(scenario, Scenario::Hot | Scenario::Pairs) && measured.calls > 0 {
        measured.batches = stock.batches(database_url).await?;
        if let Some(batches) = &measured.batches {
            eprintln!("{:>30}{:.1} reservations a statement, {} at most", "", batches.mean, batches.largest);
        }
    }
    if let Some(origin) = origins.first() {
        let what = format!("{}, {}, {connections} connections", label.series, label.setup.told());
        let settled = stock.settle(origin).await;
        bench.expect(&what, settled);
    }
    Ok(())
}

/// Calls that fall due whatever becomes of the others: what a customer waits when nobody waits for him to ask.
async fn open_loop(bench: &mut Bench<'_>, service: &Program) -> Result<(), String> {
    for scenario in some(bench, &[Scenario::Hot, Scenario::Uniform]) {
        let series = scenario.word();
        let closed = bench.figures.closed(series, Setup::OneProcess).max_by_key(|point| point.connections);
        let Some(reached) = closed.map(|point| point.per_second).filter(|reached| *reached > 0.0) else {
            bench.note(format!(
                "no open loop of {series}: its rate is a share of the closed loop's, which was not measured"
            ));
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
    bench.about(
        [("round trip to the database far away".to_owned(), format!("{} ms more", options.round_trip_ms))].into(),
    );

    let service = serve(bench, url.as_str(), "serve-far-away", &[]).await?;
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
    let on = serve(bench, &options.database_url, "serve-on", &[]).await?;
    let off = serve(bench, &options.database_url, "serve-off", &[("COALESCING", "off")]).await?;
    let (on_stock, off_stock) = (stock(bench, 1).await?, stock(bench, 1).await?);
    let baseline_stock = stock(bench, 1).await?;
    let baseline = DatabaseCaller::new(
        &options.database_url,
        Statement::OneStatement,
        Arc::clone(&baseline_stock),
        bench.seed.fork("lone baseline", 0),
    )?;
    let measured = lone_call::measure(
        (Arc::clone(&on.origin), Arc::clone(&on_stock)),
        (Arc::clone(&off.origin), Arc::clone(&off_stock)),
        baseline,
        options.warm_up,
        // Two per cent are little: it takes some thousands of calls to see them.
        options.measured() * 3,
        bench.seed.fork("lone call", 0),
    )
    .await?;
    eprintln!(
        "  lone call: p50 {:.0} µs with coalescing, {:.0} µs without: {:.3} ({:.3} to {:.3}); {:.0} µs for one statement",
        measured.on.p50_us,
        measured.off.p50_us,
        measured.ratio,
        measured.interval.0,
        measured.interval.1,
        measured.baseline.p50_us
    );
    bench.figures.lone_call = Some(measured);
    for (stock, service) in [(on_stock, &on), (off_stock, &off), (baseline_stock, &on)] {
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
    for (name, path, with_database) in [("others", "/", false), ("get_item", &item, true)] {
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
            Starts { path: "/v1/items/{id}".to_owned(), ..starts }
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
