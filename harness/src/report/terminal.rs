//! What a person sees: a progress bar for each scenario on a terminal, plain lines elsewhere, and a table at the end.

use std::io::IsTerminal;

use console::style;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    check::verdict::Verdict,
    drive::{
        race::{Observer, RaceResult, ScenarioResult},
        scenario::Scenario,
    },
};

/// Progress on the error stream, so that the output stays the result's alone.
pub struct Progress {
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Says nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Progress { quiet, bar: None }
    }
}

impl Observer for Progress {
    fn begins(&mut self, scenario: &Scenario, rounds: u32) {
        if self.quiet {
            return;
        }
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(u64::from(rounds));
            let template = if console::colors_enabled_stderr() {
                "  {prefix:<21} {bar:32.cyan/dim} {pos:>3}/{len} rounds  {elapsed}"
            } else {
                "  {prefix:<21} {bar:32} {pos:>3}/{len} rounds  {elapsed}"
            };
            if let Ok(drawn) = ProgressStyle::with_template(template) {
                bar.set_style(drawn);
            }
            bar.set_prefix(scenario.name);
            self.bar = Some(bar);
        } else {
            eprintln!("  {:<21} {rounds} rounds …", scenario.name);
        }
    }

    fn played(&mut self, round: u32) {
        if let Some(bar) = &self.bar {
            bar.set_length(bar.length().unwrap_or(0).max(u64::from(round)));
            bar.set_position(u64::from(round));
        }
    }

    fn ended(&mut self, result: &ScenarioResult) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        } else if !self.quiet {
            let word = if result.skipped { "skipped" } else { result.verdict.word() };
            eprintln!("  {:<21} {word} after {} ms", result.scenario, result.took_ms);
        }
    }
}

/// The table, then whatever was broken or undecided.
pub fn table(result: &RaceResult) -> String {
    // Where nothing was raced, a table of nothing would only hide the reason.
    let nothing = |row: &ScenarioResult| row.outcomes.is_empty() && !row.skipped && row.failure.is_none();
    if result.stopped.is_some() && result.scenarios.iter().all(nothing) {
        return String::new();
    }
    let mut text = format!(
        "{:<21} {:>6}  {:<62} {:>8}  {:>15}  verdict\n",
        "scenario", "rounds", "outcomes", "time", "burst spread"
    );
    result.scenarios.iter().for_each(|row| text.push_str(&table_row(row)));
    let samples = result.scenarios.iter().fold((0, 0), |sum, row| (sum.0 + row.samples.0, sum.1 + row.samples.1));
    let states: usize = result.scenarios.iter().map(|row| row.states).sum();
    let versions: usize = result.scenarios.iter().map(|row| row.versions).sum();
    text.push_str(&format!(
        "\nseed {}; {} reads over HTTP and {} in SQL while it ran; {versions} ledger versions audited{}\n",
        result.seed,
        samples.0,
        samples.1,
        if states > 0 { format!("; {states} committed states replayed") } else { String::new() },
    ));
    for row in &result.scenarios {
        for why in &row.undecided {
            let word = coloured(Verdict::Undecided, row.skipped);
            text.push_str(&format!("{word} {}: {why}\n", row.scenario));
        }
        if let Some(failure) = &row.failure {
            text.push_str(&format!("\n{failure}"));
        }
    }
    for what in &result.departures {
        text.push_str(&format!("{} from the assignment: {what}\n", style("departure").yellow()));
    }
    text.push_str(&last_line(result));
    text
}

/// The verdict, of how many scenarios, and what was not played.
fn last_line(result: &RaceResult) -> String {
    let rows = &result.scenarios;
    let held = rows.iter().filter(|row| row.verdict == Verdict::Held).count();
    let broken: Vec<&str> = rows.iter().filter(|row| row.verdict == Verdict::Broken).map(|row| row.scenario).collect();
    let missed: Vec<String> = rows
        .iter()
        .filter(|row| row.skipped)
        .map(|row| format!("{} ({})", row.scenario, row.undecided.join("; ")))
        .collect();
    let word = match result.verdict {
        Verdict::Held => style(result.verdict.word()).green(),
        Verdict::Undecided => style(result.verdict.word()).yellow(),
        Verdict::Broken => style(result.verdict.word()).red().bold(),
    };
    let departs = result.strict && !result.departures.is_empty();
    let mut line = if departs && broken.is_empty() {
        let count = result.departures.len();
        format!("\n{word}: {held} of {} scenarios held, with {count} departures, which --strict forbids", rows.len())
    } else if broken.is_empty() {
        format!("\n{word}: {held} of {} scenarios held", rows.len())
    } else {
        format!("\n{word}: {} of {} scenarios ({}); {held} held", broken.len(), rows.len(), broken.join(", "))
    };
    if !missed.is_empty() {
        line.push_str(&format!("; not played: {}", missed.join(", ")));
    }
    if result.verdict == Verdict::Undecided && rows.iter().any(|row| row.skipped && !row.dispensable) {
        line.push_str("; --without NAME accepts that");
    }
    line.push('\n');
    line
}

fn table_row(row: &ScenarioResult) -> String {
    let outcomes: Vec<String> = row.outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let lines = wrapped(&outcomes, 62);
    let spread = format!("{:.1} / {:.1} ms", row.spread_us.0 as f64 / 1_000.0, row.spread_us.1 as f64 / 1_000.0);
    let mut text = format!(
        "{:<21} {:>6}  {:<62} {:>6.1} s  {:>15}  {}\n",
        row.scenario,
        row.rounds,
        lines.first().map_or("", String::as_str),
        row.took_ms as f64 / 1_000.0,
        spread,
        coloured(row.verdict, row.skipped),
    );
    for line in lines.iter().skip(1) {
        text.push_str(&format!("{:<21} {:>6}  {line}\n", "", ""));
    }
    text
}

fn coloured(verdict: Verdict, skipped: bool) -> console::StyledObject<&'static str> {
    match verdict {
        Verdict::Held => style("held").green(),
        Verdict::Undecided if skipped => style("skipped").yellow(),
        Verdict::Undecided => style("undecided").yellow(),
        Verdict::Broken => style("broken").red().bold(),
    }
}

fn wrapped(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() + 2 <= width => {
                line.push_str(", ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}
