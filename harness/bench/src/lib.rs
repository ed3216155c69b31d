//! The benchmark: loads the service, takes its baselines from the same database in the same run, and writes both down.
//!
//! Reading order: [`load`] (the loops), [`calls`] and [`baseline`] (what is called), [`stock`] (every unit accounted for),
//! [`parts`] (what is measured, in which order), [`targets`] (the ratios that count), [`page`] (what a person sees).

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};

use stockhold_harness::internal::{
    history::Seed,
    report::{Exit, Place},
};

pub mod about;
pub mod baseline;
pub mod calls;
pub mod cold_start;
pub mod delay;
pub mod figures;
pub mod growth;
pub mod latency;
pub mod load;
pub mod lone_call;
pub mod page;
pub mod parts;
mod plot;
pub mod processor;
pub mod program;
mod rivals;
pub mod scenario;
pub mod stock;
pub mod summary;
pub mod targets;

use figures::{Figures, Point, Setup};
use load::{Caller, Effort, Pace};
use scenario::Scenario;

/// The format of `bench.json`.
const FORMAT: u32 = 1;
const CONNECTIONS: [u32; 4] = [1, 16, 64, 200];
const GROWTH: [u64; 3] = [0, 1_000_000, 10_000_000];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Part {
    /// The database alone.
    Baselines,
    /// The Express service.
    Express,
    /// The library, without HTTP.
    Library,
    /// One process, every scenario.
    OneProcess,
    /// One process, calls that fall due at a fixed rate.
    OpenLoop,
    /// Two processes on one database.
    TwoProcesses,
    /// Eight processes with one connection each and without coalescing, as serverless functions are.
    Functions,
    /// One process whose database is behind the delay, and an interactive transaction behind the same.
    FarAway,
    /// A lone call with coalescing on and off, and the least that a reservation writes.
    LoneCall,
    /// Starts of function binaries.
    ColdStart,
    /// Old reservations in the tables, and a sweep.
    Growth,
}

/// What to measure, and with which programs.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// An empty database, which the benchmark fills.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
    /// The service's program.
    #[arg(long, value_name = "PROGRAM")]
    pub serve: PathBuf,
    /// Where the function binaries `others` and `get_item` are; without it no cold start is measured.
    #[arg(long, value_name = "DIR")]
    pub functions: Option<PathBuf>,
    /// The example `hot_item` of the library; without it the library is not measured alone.
    #[arg(long, value_name = "PROGRAM")]
    pub library: Option<PathBuf>,
    /// The Express service, run by `node`; without it that baseline is not measured.
    #[arg(long, value_name = "SCRIPT")]
    pub express: Option<PathBuf>,
    /// Only this part; may be given more than once.
    #[arg(long = "part", value_name = "NAME")]
    pub parts: Vec<Part>,
    /// Only this scenario; may be given more than once.
    #[arg(long = "scenario", value_name = "NAME")]
    pub scenarios: Vec<Scenario>,
    /// Everything: longer, every scenario everywhere, and growth to ten million old reservations.
    #[arg(long)]
    pub full: bool,
    /// How many connections, each with one call at a time [default: 1,16,64,200].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N,N")]
    pub connections: Vec<u32>,
    /// How long each point is measured [default: 2, or 5 with --full].
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub seconds: Option<Duration>,
    /// How long each point runs before it counts.
    #[arg(long, default_value = "0.5", value_parser = seconds, value_name = "SECONDS")]
    pub warm_up: Duration,
    /// Old reservations in the tables, in ascending numbers [with --full: 0,1000000,10000000].
    #[arg(long, value_delimiter = ',', value_name = "N,N")]
    pub growth: Vec<u64>,
    /// Lapsed holds that the sweep works off.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub lapsed: u64,
    /// Connections to the database that one service process opens at most.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    pub serve_connections: u32,
    /// What a round trip to a database far away costs more.
    #[arg(long, default_value_t = 5.0, value_name = "MS")]
    pub round_trip_ms: f64,
    /// Where every choice comes from.
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// Write index.html and bench.json into this new directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Keep the services' logs in this directory.
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Something else the figures depend on, to be written down with them: "rustc=1.95.0".
    #[arg(long = "about", value_parser = key_value, value_name = "KEY=VALUE")]
    pub about: Vec<(String, String)>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    if !(0.0..=600.0).contains(&seconds) {
        return Err("0 to 600 seconds are possible".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is needed")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Options {
    fn connections(&self) -> Vec<u32> {
        if self.connections.is_empty() { CONNECTIONS.to_vec() } else { self.connections.clone() }
    }

    fn scenarios(&self) -> Vec<Scenario> {
        if self.scenarios.is_empty() { Scenario::ALL.to_vec() } else { self.scenarios.clone() }
    }

    fn growth(&self) -> Vec<u64> {
        if self.growth.is_empty() { GROWTH.to_vec() } else { self.growth.clone() }
    }

    fn measured(&self) -> Duration {
        self.seconds.unwrap_or(Duration::from_secs(if self.full { 5 } else { 2 }))
    }

    fn wants(&self, part: Part) -> bool {
        match part {
            Part::Growth if self.parts.is_empty() => self.full || !self.growth.is_empty(),
            part => self.parts.is_empty() || self.parts.contains(&part),
        }
    }
}

/// Measures, writes the report, prints the summary; the exit code is that of what was found wrong, not of a target that
/// is missed.
pub async fn command(options: Options) -> Result<Exit, String> {
    let place = options.out.as_deref().map(Place::vacant).transpose()?;
    if !options.growth.is_sorted() {
        return Err("--growth wants ascending numbers: old reservations are only added".to_owned());
    }
    about::refuse_used(&options.database_url).await?;
    let figures = tokio::select! {
        figures = run(&options) => figures?,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("stockhold-harness: interrupted; nothing was written");
            return Ok(Exit::Undecided);
        }
    };
    if let (Some(directory), Some(place)) = (&options.out, &place) {
        let json = serde_json::to_vec_pretty(&figures).map_err(|error| error.to_string())?;
        let files = [("index.html", page::html(&figures).into_bytes()), ("bench.json", json)];
        place
            .write_files(&files)
            .map_err(|error| format!("the report {} cannot be written: {error}", directory.display()))?;
    }
    // A reader that has seen enough (`| head`) is no reason to panic.
    let _ = std::io::stdout().write_all(summary::text(&figures).as_bytes());
    if let Some(directory) = &options.out {
        println!("\nThe report: {}", directory.join("index.html").display());
    }
    Ok(if !figures.failures.is_empty() {
        Exit::Broken
    } else if figures.points.is_empty() && figures.starts.is_empty() && figures.lone_call.is_none() {
        Exit::Undecided
    } else {
        Exit::Held
    })
}

/// Measures everything that was asked for.
pub async fn run(options: &Options) -> Result<Figures, String> {
    let started = Instant::now();
    let mut bench = Bench { options, seed: Seed::new(options.seed), figures: blank(options) };
    parts::all(&mut bench).await?;
    let mut figures = bench.figures;
    figures.took_seconds = started.elapsed().as_secs_f64();
    figures.targets = targets::targets(&figures);
    Ok(figures)
}

fn blank(options: &Options) -> Figures {
    let mut about = about::machine();
    about.extend(options.about.iter().cloned());
    // The database's URL has a password in it.
    let secret = |argument: &String| argument.contains("://");
    let command = std::env::args().skip(1).map(|argument| if secret(&argument) { "URL".to_owned() } else { argument });
    Figures {
        format: FORMAT,
        began: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        took_seconds: 0.0,
        about,
        command: format!("stockhold-harness {}", command.collect::<Vec<_>>().join(" ")),
        seed: options.seed,
        points: Vec::new(),
        lone_call: None,
        starts: Vec::new(),
        sweep: None,
        targets: Vec::new(),
        failures: Vec::new(),
        notes: Vec::new(),
    }
}

/// A benchmark under way.
pub struct Bench<'a> {
    options: &'a Options,
    seed: Seed,
    figures: Figures,
}

/// Which measurement comes next.
#[derive(Clone, Copy)]
struct Label<'a> {
    series: &'a str,
    setup: Setup,
    old_reservations: u64,
    pace: Pace,
}

impl Bench<'_> {
    /// Measures one point, tells it, and keeps it.
    async fn measure<C: Caller>(
        &mut self,
        label: Label<'_>,
        callers: Vec<C>,
        services: Vec<u32>,
    ) -> Result<&mut Point, String> {
        let Label { series, setup, old_reservations, pace } = label;
        let connections = u32::try_from(callers.len()).unwrap_or(u32::MAX);
        let effort = Effort { pace, warm_up: self.options.warm_up, measured: self.options.measured(), services };
        let load = load::run(callers, effort).await.map_err(|error| format!("{series}, {}: {error}", setup.told()))?;
        let point = Point {
            series: series.to_owned(),
            setup,
            old_reservations,
            connections,
            rate: match pace {
                Pace::Closed => None,
                Pace::Open(per_second) => Some(per_second),
            },
            calls: load.calls,
            errors: load.errors,
            seconds: load.seconds,
            per_second: load.per_second(),
            latency: load.latency.quantiles(),
            corrected: load.corrected.quantiles(),
            processor: load.processor,
            batches: None,
        };
        eprintln!("  {}", summary::line(&point));
        if load.errors > 0 {
            let what = format!("{series}, {}, {connections} connections", setup.told());
            self.figures.failures.push(format!("{what}: {} calls failed: {}", load.errors, load.examples.join("; ")));
        } else if load.calls == 0 {
            self.figures
                .failures
                .push(format!("{series}, {}, {connections} connections: nothing was answered", setup.told()));
        }
        self.figures.points.push(point);
        self.figures.points.last_mut().ok_or_else(|| "no point".to_owned())
    }

    fn about(&mut self, more: BTreeMap<String, String>) {
        self.figures.about.extend(more);
    }

    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        eprintln!("  note: {note}");
        self.figures.notes.push(note);
    }

    fn expect(&mut self, what: &str, result: Result<(), String>) {
        if let Err(why) = result {
            eprintln!("  FAILED: {what}: {why}");
            self.figures.failures.push(format!("{what}: {why}"));
        }
    }
}
