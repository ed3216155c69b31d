//! The kill matrix: which mutant was found by which scenario, and by which layer of it.

use console::style;

use super::trial::{Cell, Trial};
use stockhold_harness::internal::{check::Verdict, drive::SCENARIOS};

/// One line a mutant: who had to find it, and who did.
pub fn table(trials: &[Trial]) -> String {
    let mut text = format!(
        "{:<30} {:<28} {:<22} {:<27} {:<52} {:>7}  verdict\n",
        "mutant", "kind", "scenario", "over HTTP alone", "with the database", "time"
    );
    for trial in trials {
        let named = trial.with_database.iter().find(|cell| cell.scenario == trial.mutant.scenario);
        let over_http = if trial.mutant.over_http.is_empty() {
            "(unseen)".to_owned()
        } else {
            trial.over_http.as_ref().map_or("-".to_owned(), found)
        };
        text.push_str(&format!(
            "{:<30} {:<28} {:<22} {:<27} {:<52} {:>5.1} s  {}\n",
            trial.mutant.name,
            trial.mutant.kind.word(),
            trial.mutant.scenario,
            over_http,
            [named, trial.behind_gates.as_ref()].into_iter().flatten().map(found).collect::<Vec<_>>().join(", "),
            trial.took.as_secs_f64(),
            if trial.complaint().is_none() { style("caught").green() } else { style("escaped").red().bold() },
        ));
    }
    text
}

fn found(cell: &Cell) -> String {
    if cell.verdict == Verdict::Broken { cell.layers.join(", ") } else { cell.verdict.word().to_owned() }
}

/// Every scenario on every mutant, a letter a layer.
pub fn whole(trials: &[Trial]) -> String {
    let mut text = String::from(
        "\ne expectation, a answers, i lifecycle, o occupancy, f search, s sampler, b books, r ledger, l log; . held; ? undecided; [ ] the scenario of the table\n\n",
    );
    for (column, scenario) in SCENARIOS.iter().enumerate() {
        text.push_str(&format!("{:<30} {}{}\n", "", "       ".repeat(column), scenario.name));
    }
    for trial in trials {
        text.push_str(&format!("{:<30} ", trial.mutant.name));
        for scenario in SCENARIOS {
            let cell = trial.with_database.iter().find(|cell| cell.scenario == scenario.name);
            let letters = cell.map_or("-".to_owned(), letters);
            let shown = if scenario.name == trial.mutant.scenario { format!("[{letters}]") } else { letters };
            text.push_str(&format!("{shown:<7}"));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn letters(cell: &Cell) -> String {
    match cell.verdict {
        Verdict::Held => ".".to_owned(),
        Verdict::Undecided => "?".to_owned(),
        Verdict::Broken => cell.layers.iter().map(|layer| letter(layer)).collect(),
    }
}

fn letter(layer: &str) -> char {
    match layer {
        "search" => 'f',
        "lifecycle" => 'i',
        "ledger" => 'r',
        other => other.chars().next().unwrap_or('?'),
    }
}
