//! The command line.

use clap::{Args, Parser, Subcommand};
use url::Url;

/// Races an inventory reservation API and says, with evidence, whether it ever oversold, deducted twice or released
/// twice.
///
/// Exit codes: 0 held; 1 broken; 2 undecided (also: nothing ran, or what was asked for was skipped); 3 usage;
/// 4 the target is unreachable, or its plain sequential path is already wrong; 5 the control did not fail.
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
    /// Check a history file again, without any deployment.
    Check(Check),
    /// Tell every scenario in words.
    List,
    /// Plant faults in our own service, one at a time, and see each of them found.
    ///
    /// Exit code 1 also when a mutant escapes, or when the clean service raises an alarm.
    Mutants(Mutants),
}

/// Which deployment, and what it wants.
#[derive(Args, Clone)]
pub struct Deployment {
    /// A base URL of the deployment; give each instance its own. Calls are spread over them.
    #[arg(long = "url", required = true, value_name = "URL")]
    pub urls: Vec<Url>,
    /// The bearer token of every call.
    #[arg(long, env = "API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
    /// The bearer token of maintenance calls.
    #[arg(long, env = "CRON_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub cron_secret: Option<String>,
    /// How long one call may take before it counts as unknown.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub timeout_seconds: u64,
    /// Race a deployment that is not on this machine.
    #[arg(long)]
    pub yes_this_deployment: bool,
    /// A dialect file (TOML): how this deployment names things. What it does not say is found out.
    #[arg(long, value_name = "FILE")]
    pub dialect: Option<std::path::PathBuf>,
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
    /// The deployment's database, read after every round and sampled meanwhile. Without it, only what HTTP shows is
    /// checked.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// A statement that gives one reservation a new deadline, for deployments whose callers cannot set a short one.
    /// `{id}` and `{milliseconds}` stand in it: "update reservations set expires_at = clock_timestamp() +
    /// {milliseconds} * interval '1 millisecond' where id = '{id}'".
    #[arg(long, requires = "database_url", value_name = "SQL")]
    pub expire_sql: Option<String>,
    /// Only this scenario; may be given more than once. `list` names them.
    #[arg(long = "scenario", value_name = "NAME")]
    pub scenarios: Vec<String>,
    /// Rounds of each scenario, instead of its own number.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub rounds: Option<u32>,
    /// Where every choice comes from; printed at the end of every run.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Write index.html, junit.xml and summary.json into this new directory.
    #[arg(long, value_name = "DIR")]
    pub report: Option<std::path::PathBuf>,
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
}

/// Which mutants.
#[derive(Args)]
pub struct Mutants {
    /// An admin URL of a PostgreSQL server: every mutant has a database of its own there, which is dropped after it.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, required_unless_present = "list", value_name = "URL")]
    pub database_url: Option<String>,
    /// The service's program.
    #[arg(long, required_unless_present = "list", value_name = "PATH")]
    pub serve: Option<std::path::PathBuf>,
    /// Only this mutant; may be given more than once.
    #[arg(long = "mutant", value_name = "NAME")]
    pub mutants: Vec<String>,
    /// One mutant of each kind, and few rounds of the clean service.
    #[arg(long)]
    pub short: bool,
    /// Every scenario on every mutant.
    #[arg(long)]
    pub matrix: bool,
    /// How often the clean service must hold first, in a row.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100_000), value_name = "N")]
    pub clean_runs: u32,
    /// Rounds of each scenario on the clean service, instead of its own number.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub rounds: Option<u32>,
    /// Where every choice comes from; printed at the end of every run.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Tell every mutant in words, and race nothing.
    #[arg(long)]
    pub list: bool,
}
