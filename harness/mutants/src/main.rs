//! The program: reads the command line, tries mutants, ends with a documented exit code.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use stockhold_harness::internal::{fresh_seed, report::Exit};
use stockhold_mutants::gate;

/// Plants faults in our own service, one at a time, and sees each of them found.
///
/// Exit codes: 0 every mutant was caught; 1 one escaped, or the clean service raised an alarm; 3 usage.
#[derive(Parser)]
#[command(name = "stockhold-mutants", version)]
struct Mutants {
    /// An admin URL of a PostgreSQL server: every mutant has a database of its own there, which is dropped after it.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, required_unless_present = "list", value_name = "URL")]
    database_url: Option<String>,
    /// The service's program.
    #[arg(long, required_unless_present = "list", value_name = "PATH")]
    serve: Option<std::path::PathBuf>,
    /// Only this mutant; may be given more than once.
    #[arg(long = "mutant", value_name = "NAME")]
    mutants: Vec<String>,
    /// One mutant of each kind, and few rounds of the clean service.
    #[arg(long)]
    short: bool,
    /// Every scenario on every mutant.
    #[arg(long)]
    matrix: bool,
    /// How often the clean service must hold first, in a row.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100_000), value_name = "N")]
    clean_runs: u32,
    /// Rounds of each scenario on the clean service, instead of its own number.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    rounds: Option<u32>,
    /// Where every choice comes from; printed at the end of every run.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Write which were caught and which escaped, and why, into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
    /// Tell every mutant in words, and race nothing.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = match Mutants::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, and are no mistake.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Held };
            let _ = error.print();
            return exit.into();
        }
    };
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("stockhold-mutants: {error:#}");
            Exit::Usage.into()
        }
    }
}

fn run(arguments: Mutants) -> Result<Exit> {
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
        json: arguments.json,
    };
    tokio::runtime::Runtime::new()?.block_on(gate::gate(&plan, say)).map_err(anyhow::Error::msg)
}

/// Writes to the output stream. A reader that has seen enough (`| head`) is no reason to panic.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
