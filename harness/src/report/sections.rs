//! The page's tables: how long calls took, what the control showed, what each piece of evidence is worth.

use maud::{Markup, html};

use crate::{
    drive::kill::Kill,
    drive::race::RaceResult,
    report::{
        setting::{Section, Setting},
        text::{grouped, ms, spelt_out},
        words::{audited, glyph},
    },
};

/// A table of words. On a phone its rows stand below each other, each cell with its column's name; so that it is a table
/// even then, each part says what it is.
fn words(id: &str, columns: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby=(id) {
            table.wordy role="table" aria-labelledby=(id) {
                thead role="rowgroup" {
                    tr role="row" {
                        @for column in columns { th scope="col" role="columnheader" { (spelt_out(column)) } }
                    }
                }
                tbody role="rowgroup" {
                    @for row in rows {
                        tr role="row" {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 {
                                    th scope="row" role="rowheader" { (cell) }
                                } @else {
                                    td role="cell" data-label=(columns.get(index).copied().unwrap_or_default()) { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn text(text: &str) -> Markup {
    html! { (spelt_out(text)) }
}

/// A table as it was given.
pub fn section(section: &Section, number: usize) -> Markup {
    let id = format!("section-{number}");
    let columns: Vec<&str> = section.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<Markup>> = section.rows.iter().map(|row| row.iter().map(|cell| text(cell)).collect()).collect();
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (spelt_out(&section.title)) }
            p { (spelt_out(&section.words)) }
            (words(&id, &columns, &rows))
        }
    }
}

/// How long calls took, by verb.
pub fn latency(result: &RaceResult) -> Markup {
    let quantiles = result.latencies.quantiles();
    html! {
        @if !quantiles.is_empty() {
            section aria-labelledby="latency" {
                h2 #latency { "Latency" }
                div.scroll tabindex="0" role="region" aria-labelledby="latency" {
                    table {
                        thead { tr {
                            th scope="col" { "Verb" } th.number scope="col" { "Calls" } th.number scope="col" { "p50" }
                            th.number scope="col" { "p90" } th.number scope="col" { "p99" }
                            th.number scope="col" { "Longest" }
                        } }
                        tbody {
                            @for (verb, took) in &quantiles {
                                tr {
                                    th scope="row" { (verb.replace('_', " ")) }
                                    td.number { (grouped(took.calls as u64)) }
                                    @for us in [took.p50_us, took.p90_us, took.p99_us, took.max_us] {
                                        td.number { (ms(u64::from(us))) }
                                    }
                                }
                            }
                        }
                    }
                }
                p.note {
                    "Every answered call of the run, stage and quiet end included, from its last byte’s departure to its "
                    "answer’s head. Races are bursts: this is no benchmark."
                }
            }
        }
    }
}

/// What came of the control's planted faults.
pub fn control(kills: &[Kill]) -> Markup {
    let row = |kill: &Kill| {
        let found = match &kill.found_by {
            Some(layer) => html! { span.verdict.held { (glyph("held")) (layer) } },
            None => html! { span.verdict.broken { (glyph("broken")) "escaped" } },
        };
        vec![html! { code { (kill.fault) } }, text(kill.scenario), found, text(&kill.what)]
    };
    let rows: Vec<Vec<Markup>> = kills.iter().map(row).collect();
    html! {
        @if !kills.is_empty() {
            section aria-labelledby="control" {
                h2 #control { "The control" }
                p {
                    "Before the target was raced, so was a built-in service with a planted fault: an instrument that "
                    "cannot fail proves nothing."
                }
                (words("control", &["Planted fault", "Scenario", "Found by", "What it said"], &rows))
            }
        }
    }
}

/// Which evidence this run had, and what each kind proves and does not.
pub fn evidence(result: &RaceResult, setting: &Setting) -> Markup {
    let sum =
        |of: fn(&(usize, usize)) -> usize| result.scenarios.iter().map(|row| of(&row.samples) as u64).sum::<u64>();
    let (http, sql) = (sum(|samples| samples.0), sum(|samples| samples.1));
    let versions: u64 = result.scenarios.iter().map(|row| row.versions as u64).sum();
    let states: u64 = result.scenarios.iter().map(|row| row.states as u64).sum();
    let found = setting.control.iter().filter(|kill| kill.found_by.is_some()).count();
    let answers: u64 = result.latencies.quantiles().values().map(|verb| verb.calls as u64).sum();
    let rows = [
        (
            "What callers were told, and when",
            (answers > 0 || setting.checked.is_some()).then(|| format!("{} answers", grouped(answers))),
            "that some order of the calls explains every answer, or that none does",
            "a committed state that no answer showed",
        ),
        (
            "Reads while it ran",
            (http + sql > 0).then(|| format!("{} over HTTP, {} in SQL", grouped(http), grouped(sql))),
            "what they happened to see",
            "what was between them",
        ),
        (
            "The ledger",
            audited(result).then(|| format!("{} versions", grouped(versions))),
            "every committed change, in order, none missing, by the service’s own book-keeping",
            "books that lie in step with the rows and with what clients were told",
        ),
        (
            "The database’s log",
            (states > 0).then(|| format!("{} committed states", grouped(states))),
            "every committed state of items and reservations, independent of the service’s code",
            "uncommitted states",
        ),
        (
            "The control",
            (found > 0).then(|| format!("{found} planted, found")),
            "that this instrument, in this run, could fail",
            "that it would find every fault",
        ),
    ];
    let row = |(name, had, proves, not): &(&str, Option<String>, &str, &str)| {
        let had = match had {
            Some(had) => html! { span.verdict.held { (glyph("held")) (had) } },
            None => html! { span.verdict.skipped { (glyph("skipped")) "none" } },
        };
        vec![text(name), had, text(proves), text(not)]
    };
    let rows: Vec<Vec<Markup>> = rows.iter().map(row).collect();
    html! {
        section aria-labelledby="evidence" {
            h2 #evidence { "What the evidence proves" }
            (words("evidence", &["Evidence", "In this run", "Proves", "Does not show"], &rows))
        }
    }
}
