//! The program: reads the command line, runs one command, ends with a documented exit code.

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use stockhold_harness::{
    bench,
    books::Books,
    checker::Limits,
    connection::Origin,
    control,
    dialect::Dialect,
    exit_code::Exit,
    history::{Event, FORMAT, Recorder},
    http2,
    interrupt::Interrupt,
    model::Contract,
    mutants::gate,
    offline,
    probe::{self, Mover},
    race::{self, Options, RaceResult},
    report::{History, Place, Setting},
    scenario::{self, SCENARIOS, Scenario},
    target::{Keys, Target},
    telling,
    terminal::{self, Progress},
};

mod cli;
mod exploring;
mod signals;

use cli::{Check, Cli, Command, Deployment, Mutants, Race};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no mistake.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Held };
            // Nobody is left to tell when the stream itself is closed.
            let _ = error.print();
            return exit.into();
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("stockhold-harness: {error:#}");
            Exit::Usage.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime could not start")?;
    runtime.block_on(async {
        match cli.command {
            Command::Race(arguments) => race(*arguments).await,
            Command::Walk(arguments) => exploring::walk(*arguments).await,
            Command::Explore(arguments) => exploring::explore(*arguments).await,
            Command::Replay(arguments) => exploring::replay(*arguments).await,
            Command::Check(arguments) => check(&arguments),
            Command::Bench(options) => bench::command(*options).await.map_err(anyhow::Error::msg),
            Command::List => {
                list();
                Ok(Exit::Held)
            }
            Command::Mutants(arguments) => mutants(arguments).await,
        }
    })
}

fn check(arguments: &Check) -> Result<Exit> {
    let path = arguments.history.display();
    let place = arguments.report.as_deref().map(Place::vacant).transpose().map_err(anyhow::Error::msg)?;
    let file = std::fs::File::open(&arguments.history).with_context(|| format!("{path} cannot be opened"))?;
    let file = offline::read(file).map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    let began = Instant::now();
    let checked = file.check(Limits::default());
    if let Some(place) = place {
        let result = file.result(&checked, began.elapsed(), format!("stockhold-harness check {path}"));
        let mut setting = Setting::new(file.run.clone());
        setting.urls = file.instances.clone();
        setting.checked = Some(path.to_string());
        place.write(&result, &setting, History::File(&arguments.history)).context("the report cannot be written")?;
    }
    if arguments.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&checked)?));
        return Ok(checked.verdict.into());
    }
    let mut text = format!("{}: {} operations on {} items", checked.verdict.word(), checked.operations, checked.items);
    if checked.loosely > 0 {
        text.push_str(&format!("; {} reads in a crowd were only compared with what can have been", checked.loosely));
    }
    text.push('\n');
    checked.undecided.iter().for_each(|why| text.push_str(&format!("undecided: {why}\n")));
    for violation in &checked.violations {
        text.push_str(&format!("broken ({}): {}\n", violation.layer, violation.what));
        let shown = file.calls.iter().filter(|call| violation.calls.contains(&call.id));
        shown.take(10).for_each(|call| text.push_str(&format!("  {}\n", telling::event(call))));
    }
    say(&text);
    Ok(checked.verdict.into())
}

fn list() {
    let mut text = String::new();
    for scenario in SCENARIOS {
        text.push_str(&format!("{}\n\n", scenario.name));
        for line in scenario.told().lines() {
            text.push_str(&format!("    {line}\n"));
        }
        text.push('\n');
    }
    say(&text);
}

async fn mutants(arguments: Mutants) -> Result<Exit> {
    if arguments.list {
        say(&gate::list());
        return Ok(Exit::Held);
    }
    let plan = gate::Plan {
        // The command line asks for both wherever something is raced.
        database_url: arguments.database_url.unwrap_or_default(),
        serve: arguments.serve.unwrap_or_default(),
        names: arguments.mutants,
        short: arguments.short,
        matrix: arguments.matrix,
        clean_runs: arguments.clean_runs,
        rounds: arguments.rounds,
        seed: arguments.seed.unwrap_or_else(fresh_seed),
    };
    gate::gate(&plan, say).await.map_err(anyhow::Error::msg)
}

/// Writes to the output stream. A reader that has seen enough (`| head`) is no reason to panic.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

async fn race(arguments: Race) -> Result<Exit> {
    let scenarios = chosen(&arguments.scenarios)?;
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let run = fresh_run();
    let quiet = arguments.quiet || arguments.json;
    let place = arguments.report.as_deref().map(Place::vacant).transpose().map_err(anyhow::Error::msg)?;
    if let Some(url) = &arguments.database_url {
        // A wrong one is told before anything is raced or written.
        Books::open(url).await.map_err(anyhow::Error::msg)?;
    }
    let mut setting = Setting::new(run.clone());
    setting.database = arguments.database_url.is_some();
    setting.left_out = left_out(&scenarios);
    if arguments.require_control {
        let kill = control::turns_red(seed).await.map_err(anyhow::Error::msg)?;
        if kill.found_by.is_none() {
            eprintln!("stockhold-harness: the control did not fail: the instrument itself is in doubt");
            return Ok(Exit::ControlHeld);
        }
        setting.control.push(kill);
    }
    let mover = mover(arguments.database_url.as_deref(), arguments.expire_sql.as_deref()).await?;
    let Some((target, found)) =
        target(&arguments.deployment, arguments.http2, &run, seed, quiet, place.as_ref(), mover).await?
    else {
        return Ok(Exit::Unreachable);
    };
    setting.http2 = target.http2();
    setting.urls = target.urls().to_vec();
    setting.found = found;
    let options = Options {
        rounds: arguments.rounds,
        database_url: arguments.database_url,
        expire_sql: arguments.expire_sql,
        witness: arguments.witness,
        skipping_is_fine: arguments.scenarios.is_empty(),
        interrupt: interrupt(place.clone())?,
        ..Options::new(seed, run)
    };
    let mut progress = Progress::new(quiet);
    let result = race::race(&target, &scenarios, &options, &mut progress).await.map_err(anyhow::Error::msg)?;
    target.recorder().finish().map_err(anyhow::Error::msg)?;
    if let Some(place) = &place {
        place.write(&result, &setting, History::Recorded(target.recorder())).context("the report cannot be written")?;
    }
    if arguments.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&result)?));
    } else {
        say(&terminal::table(&result));
    }
    if let Some(stopped) = &result.stopped {
        eprintln!("stockhold-harness: {}", stopped.why);
    }
    Ok(exit(&result))
}

/// Stops the race at the first Ctrl-C (or the request of a CI that ends a job), so that what was seen is still told; the
/// second one ends everything, and what was being written goes with it.
fn interrupt(place: Option<Place>) -> Result<Interrupt> {
    let (stop, interrupt) = Interrupt::new();
    let mut signals = signals::Signals::listen().context("Ctrl-C cannot be listened to")?;
    tokio::spawn(async move {
        signals.next().await;
        stop.stop();
        signals.next().await;
        place.iter().for_each(Place::abandon);
        eprintln!("stockhold-harness: interrupted twice; what was not written by now is not written");
        std::process::exit(Exit::Undecided.code().into());
    });
    Ok(interrupt)
}

fn left_out(scenarios: &[&'static Scenario]) -> Vec<&'static str> {
    let chosen = |name: &str| scenarios.iter().any(|scenario| scenario.name == name);
    SCENARIOS.iter().map(|scenario| scenario.name).filter(|name| !chosen(name)).collect()
}

fn exit(result: &RaceResult) -> Exit {
    match &result.stopped {
        // Broken is never ranked below anything.
        Some(stopped) if stopped.target && result.verdict != stockhold_harness::verdict::Verdict::Broken => {
            Exit::Unreachable
        }
        _ => result.verdict.into(),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let known = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
            scenario::find(name).with_context(|| format!("no scenario is called {name}; there are {}", known()))
        })
        .collect()
}

fn fresh_run() -> String {
    format!("{:08x}", fresh_seed() & 0xffff_ffff)
}

fn fresh_seed() -> u64 {
    let id = uuid::Uuid::now_v7().as_u128();
    // The low half of a version 7 id is random; six digits are enough to choose, and short enough to type.
    (id as u64) % 1_000_000_000
}

/// Probes the deployment; nothing, once it has been said why, where it cannot be raced.
async fn target(
    deployment: &Deployment,
    http2: bool,
    run: &str,
    seed: u64,
    quiet: bool,
    place: Option<&Place>,
    mut mover: Option<Mover>,
) -> Result<Option<(Target, Vec<String>)>> {
    if let Some(remote) = deployment.urls.iter().find(|url| !is_loopback(url))
        && !deployment.yes_this_deployment
    {
        bail!("{remote} is not on this machine: give --yes-this-deployment if it is yours to race");
    }
    let file = match &deployment.dialect {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?)
        }
        None => None,
    };
    if let Some(file) = &file {
        Dialect::default().overridden(file).map_err(|error| anyhow::anyhow!("the dialect is wrong: {error}"))?;
    }
    let keys = Keys { api_key: deployment.api_key.clone(), cron_secret: deployment.cron_secret.clone() };
    let timeout = Duration::from_secs(deployment.timeout_seconds.max(1));
    let mut probed = None;
    for url in &deployment.urls {
        let origin = Origin::parse(url).map_err(anyhow::Error::msg)?;
        if http2 && let Err(error) = http2::is_spoken(&origin, timeout).await {
            eprintln!("stockhold-harness: {url}: {error}");
            return Ok(None);
        }
        // The first instance is asked for everything, the others only whether they are there.
        if probed.is_some() {
            if let Err(error) = probe::answers(&origin, timeout).await {
                eprintln!("stockhold-harness: {url}: {error}");
                return Ok(None);
            }
            continue;
        }
        match probe::probe(&origin, &keys, timeout, run, file.as_deref(), mover.take()).await {
            Ok(found) => probed = Some(found),
            Err(error) => {
                eprintln!("stockhold-harness: {url}: {error}");
                return Ok(None);
            }
        }
    }
    let probed = probed.context("no --url was given")?;
    if !quiet {
        probed.found.iter().for_each(|found| eprintln!("  dialect: {found}"));
    }
    let recorder = match (&deployment.history, place) {
        (None, Some(place)) => Recorder::nameless(place.parent()),
        (history, _) => Recorder::start(history.as_deref()),
    };
    let recorder = recorder.context("the history file cannot be created")?;
    let target = Target::new(&deployment.urls, probed.dialect, keys, timeout, recorder).map_err(anyhow::Error::msg)?;
    let target = if http2 { target.over_http2() } else { target };
    target.recorder().record(&Event::Run {
        format: FORMAT,
        run: run.to_owned(),
        seed,
        instances: target.urls().to_vec(),
        contract: Contract::from(target.dialect()),
    });
    Ok(Some((target, probed.found)))
}

/// What moves deadlines for the probe, where the caller says how.
async fn mover(database_url: Option<&str>, expire_sql: Option<&str>) -> Result<Option<Mover>> {
    let (Some(url), Some(sql)) = (database_url, expire_sql) else { return Ok(None) };
    Ok(Some(Mover { books: Books::open(url).await.map_err(anyhow::Error::msg)?, sql: sql.to_owned() }))
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
