//! The page's tables: how long calls took, what the control showed, what each piece of evidence is worth.

use maud::{Markup, html};

use super::{
    Section, Setting,
    page::{audited, glyph},
    text::{grouped, ms, spelt_out},
};
use crate::{control::Kill, race::RaceResult};

/// A table as it was given.
pub(super) fn section(section: &Section) -> Markup {
    let id: String =
        section.title.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (spelt_out(&section.title)) }
            p { (spelt_out(&section.words)) }
            div.scroll tabindex="0" role="region" aria-labelledby=(id) {
                table {
                    thead { tr { @for column in &section.columns { th scope="col" { (spelt_out(column)) } } } }
                    tbody {
                        @for row in &section.rows {
                            tr {
                                @for (index, cell) in row.iter().enumerate() {
                                    @if index == 0 { th scope="row" { (spelt_out(cell)) } } @else { td { (spelt_out(cell)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How long calls took, by verb.
pub(super) fn latency(result: &RaceResult) -> Markup {
    let quantiles = result.latencies.quantiles();
    html! {
        @if !quantiles.is_empty() {
            section aria-labelledby="latency" {
                h2 #latency { "Latency" }
                div.scroll tabindex="0" role="region" aria-labelledby="latency" {
                    table {
                        thead { tr {
                            th scope="col" { "Verb" } th.number scope="col" { "Calls" } th.number scope="col" { "p50" }
                            th.number scope="col" { "p90" } th.number scope="col" { "p99" } th.number scope="col" { "Longest" }
                        } }
                        tbody {
                            @for (verb, verb_quantiles) in &quantiles {
                                tr {
                                    th scope="row" { (verb.replace('_', " ")) }
                                    td.number { (grouped(verb_quantiles.calls as u64)) }
                                    @for us in [verb_quantiles.p50_us, verb_quantiles.p90_us, verb_quantiles.p99_us, verb_quantiles.max_us] {
                                        td.number { (ms(u64::from(us))) }
                                    }
                                }
                            }
                        }
                    }
                }
                p.note { "Every answered call of the run, stage and quiet end included, from its last byte’s departure to its answer’s head. Races are bursts: this is no benchmark." }
            }
        }
    }
}

/// What came of the control's planted faults.
pub(super) fn control(kills: &[Kill]) -> Markup {
    html! {
        @if !kills.is_empty() {
            section aria-labelledby="control" {
                h2 #control { "The control" }
                p { "Before the target was raced, so was a built-in service with a planted fault: an instrument that cannot fail proves nothing." }
                div.scroll tabindex="0" role="region" aria-labelledby="control" {
                    table {
                        thead { tr {
                            th scope="col" { "Planted fault" } th scope="col" { "Scenario" } th scope="col" { "Found by" } th scope="col" { "What it said" }
                        } }
                        tbody {
                            @for kill in kills {
                                tr {
                                    th scope="row" { code { (kill.fault) } }
                                    td { (kill.scenario) }
                                    td { @match &kill.found_by {
                                        Some(layer) => { span.verdict.held { (glyph("held")) (layer) } }
                                        None => { span.verdict.broken { (glyph("broken")) "escaped" } }
                                    } }
                                    td { (spelt_out(&kill.what)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Which evidence this run had, and what each kind proves and does not.
pub(super) fn evidence(result: &RaceResult, setting: &Setting) -> Markup {
    let sum =
        |of: fn(&(usize, usize)) -> usize| result.scenarios.iter().map(|row| of(&row.samples) as u64).sum::<u64>();
    let (http, sql) = (sum(|samples| samples.0), sum(|samples| samples.1));
    let versions: u64 = result.scenarios.iter().map(|row| row.versions as u64).sum();
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
            "The control",
            (found > 0).then(|| format!("{found} planted, found")),
            "that this instrument, in this run, could fail",
            "that it would find every fault",
        ),
    ];
    html! {
        section aria-labelledby="evidence" {
            h2 #evidence { "What the evidence proves" }
            div.scroll tabindex="0" role="region" aria-labelledby="evidence" {
                table {
                    thead { tr { th scope="col" { "Evidence" } th scope="col" { "In this run" } th scope="col" { "Proves" } th scope="col" { "Does not show" } } }
                    tbody {
                        @for (name, had, proves, not) in &rows {
                            tr.absent[had.is_none()] {
                                th scope="row" { (name) }
                                td { @match had {
                                    Some(had) => { span.verdict.held { (glyph("held")) (had) } }
                                    None => { span.verdict.skipped { (glyph("skipped")) "none" } }
                                } }
                                td { (proves) } td { (not) }
                            }
                        }
                    }
                }
            }
        }
    }
}
