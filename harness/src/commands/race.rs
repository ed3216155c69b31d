//! `race`: scenarios against a deployment, and the report of it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{
    commands::{
        cli::Race,
        deployment::{backstage, fresh_run, fresh_seed, replay_flags, staging, started, tables, target},
        output::{exit, say},
        signals,
    },
    database::books::Books,
    drive::{
        interrupt::Interrupt,
        kill,
        options::Options,
        race as racing,
        race::RaceResult,
        scenario::Scenario,
        scenarios::{self, SCENARIOS},
    },
    report::{
        exit_code::Exit,
        place::{History, Place},
        setting::Setting,
        terminal::{self, Progress},
    },
};

/// Races scenarios, prints the table, and writes a report where one is wanted.
pub async fn race(mut arguments: Race) -> Result<Exit> {
    let scenarios = played(&arguments)?;
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let run = fresh_run();
    let quiet = arguments.quiet || arguments.json;
    let place = arguments.report.as_deref().map(Place::vacant).transpose().map_err(anyhow::Error::msg)?;
    if let Some(url) = &arguments.gated.database_url {
        // A wrong one is told before anything is raced or written.
        Books::open(url).await.map_err(anyhow::Error::msg)?;
    }
    let mut setting = Setting::new(run.clone());
    setting.database = arguments.gated.database_url.is_some();
    setting.left_out = left_out(&scenarios);
    if arguments.require_control {
        let kill = kill::turns_red(seed).await.map_err(anyhow::Error::msg)?;
        if kill.found_by.is_none() {
            eprintln!("stockhold-harness: the control did not fail: the instrument itself is in doubt");
            return Ok(Exit::ControlHeld);
        }
        setting.control.push(kill);
    }
    let fleet = started(&mut arguments.deployment, &arguments.gated).await?;
    let gated = &arguments.gated;
    let backstage =
        backstage(&arguments.deployment, gated.database_url.as_deref(), gated.expire_sql.as_deref()).await?;
    let (target, found) =
        match target(&arguments.deployment, arguments.http2, &run, seed, quiet, place.as_ref(), backstage).await? {
            Ok(probed) => probed,
            Err(exit) => return Ok(exit),
        };
    setting.http2 = target.http2();
    setting.urls = target.urls().to_vec();
    setting.found = found;
    let options = Options {
        rounds: arguments.rounds,
        tables: tables(&arguments.gated),
        replay_flags: replay_flags(&arguments.deployment, &arguments.gated),
        database_url: arguments.gated.database_url.clone(),
        expire_sql: arguments.gated.expire_sql.clone(),
        stage: staging(&arguments.deployment),
        witness: arguments.witness,
        fleet,
        recovery: Duration::from_secs(arguments.recovery_seconds),
        asked_by_name: !arguments.scenarios.is_empty() || !arguments.nemesis.is_empty(),
        without: known(&arguments.without)?,
        strict: arguments.strict,
        interrupt: interrupt(place.clone())?,
        ..Options::new(seed, run)
    };
    let mut progress = Progress::new(quiet);
    let result = racing::race(&target, &scenarios, &options, &mut progress).await.map_err(anyhow::Error::msg)?;
    // The result is told before anything is written: a full disk takes nothing of it back.
    if arguments.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&result)?));
    } else {
        say(&terminal::table(&result));
    }
    if let Some(stopped) = &result.stopped {
        eprintln!("stockhold-harness: {}", stopped.why);
    }
    let written = target.recorder().finish().and_then(|()| match &place {
        Some(place) => place
            .write(&result, &setting, History::Recorded(target.recorder()))
            .map_err(|error| format!("the report cannot be written: {error}")),
        None => Ok(()),
    });
    Ok(ended(&result, written))
}

/// How the run ends: what was found outweighs what the harness itself could not do.
fn ended(result: &RaceResult, written: Result<(), String>) -> Exit {
    let internal: Vec<String> = result.internal.iter().cloned().chain(written.err()).collect();
    internal.iter().for_each(|what| eprintln!("stockhold-harness: {what}"));
    match exit(result) {
        Exit::Held | Exit::Undecided if !internal.is_empty() => Exit::Internal,
        exit => exit,
    }
}

fn known(names: &[String]) -> Result<Vec<String>> {
    chosen(names)?;
    Ok(names.to_vec())
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

/// What is made to fail, and what is named; where neither is said, every scenario in which nothing is made to fail.
fn played(arguments: &Race) -> Result<Vec<&'static Scenario>> {
    let faults = arguments.nemesis.iter().map(|fault| fault.word().to_owned());
    chosen(&arguments.scenarios.iter().cloned().chain(faults).collect::<Vec<_>>())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let known = || scenarios::all().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
            scenarios::find(name).with_context(|| format!("no scenario is called {name}; there are {}", known()))
        })
        .collect()
}
