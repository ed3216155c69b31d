//! What a person types: reads the command line, runs one command, ends with a documented exit code.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::{
    commands::{
        cli::{Cli, Command},
        output::say,
    },
    drive::scenarios,
    report::exit_code::Exit,
};

mod check;
mod cli;
pub mod deployment;
mod explore;
mod output;
mod race;
mod signals;

/// Runs the program.
pub fn main() -> ExitCode {
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
            Command::Race(arguments) => race::race(*arguments).await,
            Command::Walk(arguments) => explore::walk(*arguments).await,
            Command::Explore(arguments) => explore::explore(*arguments).await,
            Command::Replay(arguments) => explore::replay(*arguments).await,
            Command::Check(arguments) => check::check(&arguments),
            Command::List => {
                list();
                Ok(Exit::Held)
            }
        }
    })
}

fn list() {
    let mut text = String::new();
    for scenario in scenarios::all() {
        text.push_str(&format!("{}\n\n", scenario.name));
        for line in scenario.told().lines() {
            text.push_str(&format!("    {line}\n"));
        }
        text.push('\n');
    }
    say(&text);
}
