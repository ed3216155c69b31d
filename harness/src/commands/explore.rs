//! The commands `explore`, `walk` and `replay`.

use std::io::IsTerminal;

use crate::{
    check::verdict::Verdict,
    commands::{
        cli::{Deployment, Explore, Gated, Race, Replay},
        deployment::{backstage, fresh_run, fresh_seed, replay_flags, staging, started, tables, target},
        output::{exit, say},
        race,
    },
    database::books::Books,
    drive::{
        explorer::{Explored, Explorer, Watcher},
        findings::Halt,
        options::Options,
        race as racing,
        race::Silent,
        scenarios,
        schedule::{Schedule, schedules},
    },
    history::Seed,
    report::{exit_code::Exit, terminal},
};
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Rounds of a walk, unless the caller says otherwise.
const WALK_ROUNDS: u32 = 100;

/// The scenario `walk` alone, for longer.
pub async fn walk(mut arguments: Race) -> Result<Exit> {
    if !arguments.scenarios.is_empty() {
        bail!("`walk` plays one scenario, and chooses it itself");
    }
    arguments.scenarios = vec!["walk".to_owned()];
    arguments.rounds.get_or_insert(WALK_ROUNDS);
    race::race(arguments).await
}

/// Many schedules.
pub async fn explore(arguments: Explore) -> Result<Exit> {
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let quiet = arguments.quiet || arguments.json;
    let mut schedules = schedules(usize::from(arguments.calls), &Seed::new(seed));
    let known = schedules.len();
    if !arguments.all {
        schedules.truncate(arguments.schedules);
    }
    let explored = match play(&arguments.deployment, &arguments.gated, &schedules, seed, quiet).await? {
        Ok(explored) => explored,
        Err(exit) => return Ok(exit),
    };
    if let Some(path) = &arguments.transcript {
        std::fs::write(path, transcript(&explored)).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if arguments.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&explored)?));
    } else {
        say(&told(&explored, known, seed));
    }
    Ok(explored.verdict().into())
}

/// One round of a scenario, or one schedule.
pub async fn replay(mut arguments: Replay) -> Result<Exit> {
    let parts: Vec<&str> = arguments.what.split('/').collect();
    let [name, round, seed] = parts.as_slice() else {
        let schedule = Schedule::parse(&arguments.what).map_err(anyhow::Error::msg)?;
        if arguments.http2 {
            bail!("a schedule sends one call at a time: --http2 is for bursts");
        }
        let played = play(&arguments.deployment, &arguments.gated, &[schedule], 0, arguments.json).await?;
        let explored = match played {
            Ok(explored) => explored,
            Err(exit) => return Ok(exit),
        };
        if arguments.json {
            say(&format!("{}\n", serde_json::to_string_pretty(&explored)?));
        } else {
            say(&transcript(&explored));
            say(&told(&explored, 1, 0));
        }
        return Ok(explored.verdict().into());
    };
    let scenario = scenarios::find(name).with_context(|| format!("no scenario is called {name}; `list` names them"))?;
    let round = round.parse().ok().filter(|round| *round > 0).with_context(|| format!("{round:?} is no round"))?;
    let seed = seed.parse().with_context(|| format!("{seed:?} is no seed"))?;
    if let Some(url) = &arguments.gated.database_url {
        Books::open(url).await.map_err(anyhow::Error::msg)?;
    }
    let run = fresh_run();
    let fleet = started(&mut arguments.deployment, &arguments.gated).await?;
    let gated = &arguments.gated;
    let backstage =
        backstage(&arguments.deployment, gated.database_url.as_deref(), gated.expire_sql.as_deref()).await?;
    let target =
        match target(&arguments.deployment, arguments.http2, &run, seed, arguments.json, None, backstage).await? {
            Ok((target, _)) => target,
            Err(exit) => return Ok(exit),
        };
    let options = Options {
        database_url: arguments.gated.database_url.clone(),
        expire_sql: arguments.gated.expire_sql.clone(),
        replay_flags: replay_flags(&arguments.deployment, &arguments.gated),
        stage: staging(&arguments.deployment),
        fleet,
        asked_by_name: true,
        only_round: Some(round),
        ..Options::new(seed, run)
    };
    let result = racing::race(&target, &[scenario], &options, &mut Silent).await.map_err(anyhow::Error::msg)?;
    target.recorder().finish().map_err(anyhow::Error::msg)?;
    if arguments.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&result)?));
    } else {
        say(&terminal::table(&result));
    }
    Ok(exit(&result))
}

/// Plays schedules; where the deployment cannot be raced, says why and how the program ends.
async fn play(
    deployment: &Deployment,
    gated: &Gated,
    schedules: &[Schedule],
    seed: u64,
    quiet: bool,
) -> Result<Result<Explored, Exit>> {
    let url = gated.database_url.as_deref().context("schedules need gates, and gates need --database-url")?;
    let Some(tables) = tables(gated) else {
        bail!("the database is not on this machine: give --yes-this-database if it is yours to hold locks in");
    };
    let run = fresh_run();
    let mut deployment = deployment.clone();
    let fleet = started(&mut deployment, gated).await?;
    let deployment = &deployment;
    let options = Options {
        fleet,
        database_url: Some(url.to_owned()),
        expire_sql: gated.expire_sql.clone(),
        replay_flags: replay_flags(deployment, gated),
        stage: staging(deployment),
        ..Options::new(seed, run.clone())
    };
    // A wrong database is told before anything is sent.
    crate::database::gate::Gatehouse::open(url, tables.clone()).await.map_err(anyhow::Error::msg)?;
    let backstage = backstage(deployment, Some(url), gated.expire_sql.as_deref()).await?;
    let target = match target(deployment, false, &run, seed, quiet, None, backstage).await? {
        Ok((target, _)) => target,
        Err(exit) => return Ok(Err(exit)),
    };
    let explorer = Explorer::stage(&target, &options, tables).await.map_err(anyhow::Error::msg)?;
    let mut progress = Bar::new(quiet, schedules.len());
    let explored = tokio::select! {
        explored = explorer.explore(schedules, &mut progress) => Some(explored),
        why = target.pace().exhausted() => Some(Err(Halt::Limited(why))),
        _ = tokio::signal::ctrl_c() => None,
    };
    progress.bar.finish_and_clear();
    target.recorder().finish().map_err(anyhow::Error::msg)?;
    match explored {
        Some(Ok(explored)) => Ok(Ok(explored)),
        Some(Err(Halt::Limited(why))) => {
            eprintln!("stockhold-harness: {why}");
            Ok(Err(Exit::Undecided))
        }
        Some(Err(Halt::Unreachable(why) | Halt::PlainPath(why) | Halt::Undecided(why) | Halt::Spoilt(why))) => {
            eprintln!("stockhold-harness: {why}");
            Ok(Err(Exit::Unreachable))
        }
        Some(Err(Halt::Interrupted)) | None => bail!("interrupted; seed {seed}"),
    }
}

struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new(quiet: bool, schedules: usize) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new(schedules as u64) } else { ProgressBar::hidden() };
        if let Ok(drawn) = ProgressStyle::with_template("  schedules        {bar:32} {pos:>4}/{len}  {elapsed}") {
            bar.set_style(drawn);
        }
        Bar { bar }
    }
}

impl Watcher for Bar {
    fn played(&mut self, done: usize, _: usize) {
        self.bar.set_position(done as u64);
    }
}

fn transcript(explored: &Explored) -> String {
    let mut text = String::new();
    for line in &explored.lines {
        text.push_str(&format!("{}\n    {} => {}\n", line.schedule, line.played.answers.join(", "), line.played.end));
    }
    text
}

fn told(explored: &Explored, known: usize, seed: u64) -> String {
    let mut text = format!(
        "\n{}: {} of {known} schedules, each twice, in {:.1} s; seed {seed}\n\
         calls that were to stop at a gate: {} seen to wait, {} needed nothing it holds, {} not seen\n",
        explored.verdict().word(),
        explored.lines.len(),
        explored.took_ms as f64 / 1_000.0,
        explored.waited,
        explored.passed,
        explored.unseen,
    );
    if explored.again > 0 {
        text.push_str(&format!(
            "{} calls waited again with another statement: both orders are allowed, and neither is written down\n",
            explored.again
        ));
    }
    let unsteady = explored.unsteady().count();
    if unsteady > 0 {
        text.push_str(&format!("{unsteady} schedules came out in two ways, both allowed:\n"));
        explored.unsteady().take(5).for_each(|line| text.push_str(&format!("  {}\n", line.schedule)));
    }
    for why in &explored.undecided {
        text.push_str(&format!("undecided: {why}\n"));
    }
    if explored.waited == 0 && explored.verdict() == Verdict::Undecided {
        text.push_str("undecided: no call was ever seen to wait, so no schedule says anything\n");
    }
    if let Some(failure) = &explored.failure {
        text.push_str(&format!("\n{failure}"));
    }
    text.push_str("not controlled: how the service splits its own plain reads, and the scheduler inside it\n");
    text
}
