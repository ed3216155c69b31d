//! The program: reads the command line, measures, ends with a documented exit code.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use stockhold_bench::{Options, command};
use stockhold_harness::internal::report::Exit;

/// Measures the service, and the same database without it. `npm run bench` starts everything this needs.
///
/// Exit codes: 0 measured, and no answer was wrong; 1 an answer was wrong; 3 usage.
#[derive(Parser)]
#[command(name = "stockhold-bench", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no mistake.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Held };
            let _ = error.print();
            return exit.into();
        }
    };
    match run(cli.options) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("stockhold-bench: {error:#}");
            Exit::Usage.into()
        }
    }
}

fn run(options: Options) -> Result<Exit> {
    tokio::runtime::Runtime::new()?.block_on(command(options)).map_err(anyhow::Error::msg)
}
