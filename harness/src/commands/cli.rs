//! The command line.

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::history::Nemesis;

/// Races an inventory reservation API and says, with evidence, whether it ever oversold, deducted twice or released
/// twice.
///
/// Exit codes: 0 held; 1 broken; 2 undecided (also: nothing ran, or what was asked for was skipped); 3 usage;
/// 4 the target is unreachable, or its plain sequential path is already wrong; 5 the control did not fail;
/// 70 the harness itself failed.
#[derive(Parser)]
#[command(name = "stockhold-harness", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Race a deployment.
    ///
    /// Example: stockhold-harness race --url http://127.0.0.1:3000 --url http://127.0.0.1:3001
    Race(Box<Race>),
    /// Walk at random: bursts of every call there is, each ending in quiet.
    Walk(Box<Race>),
    /// Play schedules behind gates: calls that stop at a lock of the database, in a known order, and are seen to wait.
    ///
    /// Example: stockhold-harness explore --url http://127.0.0.1:3000 --database-url postgres://…
    Explore(Box<Explore>),
    /// Play one round (SCENARIO/ROUND/SEED) or one schedule again, as a failure prints it.
    Replay(Box<Replay>),
    /// Check a history file again, without any deployment.
    Check(Check),
    /// Tell every scenario in words.
    List,
}

/// Which deployment, and what it wants.
#[derive(Args, Clone)]
pub struct Deployment {
    /// A base URL of the deployment; give each instance its own. Calls are spread over them.
    #[arg(long = "url", required_unless_present = "start", value_name = "URL")]
    pub urls: Vec<Url>,
    /// Start the instances with this shell command, instead of `--url`. `{port}` in it is the port to listen on (`PORT` in
    /// its environment, too); with --database-url, `{database_url}` (`DATABASE_URL`) is the database, reached through the
    /// harness. They end with the harness.
    #[arg(long, conflicts_with = "urls", value_name = "COMMAND")]
    pub start: Option<String>,
    /// How many instances to start.
    #[arg(long, requires = "start", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16), value_name = "N")]
    pub instances: u8,
    /// The bearer token of every call.
    #[arg(long, env = "API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// The bearer token of maintenance calls.
    #[arg(long, env = "CRON_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub cron_secret: Option<String>,
    /// A header of every call, "NAME: VALUE"; may be given more than once. A value that is `$VARIABLE` is read from the
    /// environment. Values are never printed.
    #[arg(long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// Believe the certificates of this PEM file besides the public authorities.
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<std::path::PathBuf>,
    /// Believe any certificate.
    #[arg(long, conflicts_with = "cacert")]
    pub insecure: bool,
    /// Wait so long for every instance to accept connections.
    #[arg(long, value_name = "SECONDS")]
    pub wait_for: Option<u64>,
    /// How long to wait in all where the deployment limits its callers and says when to ask again (429, or 503 with
    /// `Retry-After`).
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub max_time: u64,
    /// Statements that make an item of `{total}` units named `{name}` and return its id, for deployments whose API creates
    /// none: "insert into products (name, stock) values ('{name}', {total}) returning id". Or that bring the item `{item}`,
    /// one of `--item`, into that state, with no hold on it. Needs --database-url.
    #[arg(long, value_name = "SQL")]
    pub stage_sql: Option<String>,
    /// An item that `--stage-sql` may use; may be given more than once: they take turns.
    #[arg(long = "item", requires = "stage_sql", value_name = "ID")]
    pub items: Vec<String>,
    /// How long one call may take before it counts as unknown.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub timeout_seconds: u64,
    /// Race a deployment that is not on this machine.
    #[arg(long)]
    pub yes_this_deployment: bool,
    /// A dialect file (TOML): how this deployment names things, and what it may do. What it does not say is as in the
    /// assignment: nothing is found out, so no fault can pass for a way of doing things.
    #[arg(long, value_name = "FILE")]
    pub dialect: Option<std::path::PathBuf>,
    /// Write what was found out to this new file, to be given as `--dialect`. With both, finding out begins with the one
    /// and ends in the other.
    #[arg(long, value_name = "FILE")]
    pub save_dialect: Option<std::path::PathBuf>,
    /// Write every call to this new file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub history: Option<std::path::PathBuf>,
}

/// How to race.
#[derive(Args)]
pub struct Race {
    /// Which deployment.
    #[command(flatten)]
    pub deployment: Deployment,
    /// Which database: read after every round and sampled meanwhile, and stopped at gates for schedules that meet a
    /// deadline. Without it, only what HTTP shows is checked.
    #[command(flatten)]
    pub gated: Gated,
    /// Replay every committed state from the database's log (logical decoding): takes wal_level = logical and the tables'
    /// owner with the right to replicate; makes a publication and a temporary slot, and takes both away.
    #[arg(long, requires = "database_url")]
    pub witness: bool,
    /// Only this scenario; may be given more than once. `list` names them.
    #[arg(long = "scenario", value_name = "NAME")]
    pub scenarios: Vec<String>,
    /// Only these faults on purpose, and what `--scenario` names: the instances and their database fail while calls are
    /// under way. `list` tells each.
    #[arg(long, requires = "start", value_delimiter = ',', value_name = "FAULTS")]
    pub nemesis: Vec<Nemesis>,
    /// How long an instance may take to answer again by itself after a fault on purpose.
    #[arg(long, requires = "nemesis", default_value_t = 30, value_name = "SECONDS")]
    pub recovery_seconds: u64,
    /// Accept that this scenario cannot be played here; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub without: Vec<String>,
    /// Count every departure from the assignment (a repeated confirm that is refused, units that come back only at a
    /// sweep, …) as broken.
    #[arg(long)]
    pub strict: bool,
    /// Rounds of each scenario, instead of its own number.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub rounds: Option<u32>,
    /// Where every choice comes from; printed at the end of every run.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Write index.html, junit.xml, summary.json and history.jsonl into this new directory: whole or not at all, and
    /// after Ctrl-C too, of what was raced until then. A second Ctrl-C writes nothing.
    #[arg(long, value_name = "DIR")]
    pub report: Option<std::path::PathBuf>,
    /// Send bursts over HTTP/2: one connection to an instance, a stream a call, all of them completed by one write. `https`
    /// negotiates it, `http` begins with it; calls outside of bursts stay on HTTP/1.1.
    #[arg(long)]
    pub http2: bool,
    /// First race a built-in service with a planted fault: unless it turns red, nothing green counts (exit code 5).
    #[arg(long)]
    pub require_control: bool,
    /// No progress, only the table.
    #[arg(long)]
    pub quiet: bool,
    /// The result as JSON on the output stream, instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// What to check.
#[derive(Args)]
pub struct Check {
    /// A file that `--history` wrote.
    pub history: std::path::PathBuf,
    /// The result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a report of it, as a race does, into this new directory.
    #[arg(long, value_name = "DIR")]
    pub report: Option<std::path::PathBuf>,
}

/// Where the database is, and what its tables are called.
#[derive(Args, Clone)]
pub struct Gated {
    /// The deployment's database itself, not a pooler before it: gates hold locks there.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// The table of items.
    #[arg(long, default_value = "stockhold.items", value_name = "TABLE")]
    pub items_table: String,
    /// The table of reservations.
    #[arg(long, default_value = "stockhold.reservations", value_name = "TABLE")]
    pub reservations_table: String,
    /// The column of the item's table that holds the id which the API shows.
    #[arg(long, default_value = "id", value_name = "COLUMN")]
    pub item_id_column: String,
    /// A statement that takes the gate's lock instead of `lock table ITEMS in exclusive mode`; `{item}` stands in it.
    #[arg(long, value_name = "SQL")]
    pub gate_sql: Option<String>,
    /// Hold locks in a database that is not on this machine.
    #[arg(long)]
    pub yes_this_database: bool,
    /// A statement that gives one reservation a new deadline, for deployments whose callers cannot set a short one.
    /// `{id}` and `{milliseconds}` stand in it: "update reservations set expires_at = clock_timestamp() +
    /// {milliseconds} * interval '1 millisecond' where id = '{id}'".
    #[arg(long, requires = "database_url", value_name = "SQL")]
    pub expire_sql: Option<String>,
}

/// What to explore.
#[derive(Args)]
pub struct Explore {
    /// Which deployment.
    #[command(flatten)]
    pub deployment: Deployment,
    /// Which database.
    #[command(flatten)]
    pub gated: Gated,
    /// Calls of one schedule at most.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3), value_name = "N")]
    pub calls: u8,
    /// So many schedules: those of few calls first, each kind of them in its share.
    #[arg(long, default_value_t = 600, value_name = "N")]
    pub schedules: usize,
    /// Every schedule.
    #[arg(long, conflicts_with = "schedules")]
    pub all: bool,
    /// Where the order of the schedules of as many calls comes from.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Write every schedule with its answers to this file, ids and times aside: two runs of one seed write the same.
    #[arg(long, value_name = "FILE")]
    pub transcript: Option<std::path::PathBuf>,
    /// No progress, only the result.
    #[arg(long)]
    pub quiet: bool,
    /// The result as JSON on the output stream.
    #[arg(long)]
    pub json: bool,
}

/// What to play again.
#[derive(Args)]
pub struct Replay {
    /// SCENARIO/ROUND/SEED, or a schedule such as 'row 3 A1~ B1: confirmA,deadline,expire | reserve2'.
    pub what: String,
    /// Which deployment.
    #[command(flatten)]
    pub deployment: Deployment,
    /// Which database; a schedule needs it for its gates.
    #[command(flatten)]
    pub gated: Gated,
    /// As for `race`: send a scenario's bursts over HTTP/2. A schedule has none.
    #[arg(long)]
    pub http2: bool,
    /// The result as JSON on the output stream.
    #[arg(long)]
    pub json: bool,
}
