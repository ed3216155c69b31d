//! One scenario on the page: what broke, told and drawn, or the race in words and one of its rounds.

use maud::{Markup, html};

use crate::{
    drive::{race::ScenarioResult, scenario::Scenario, scenarios, telling::Failure},
    report::{
        figure::figure,
        text::{grouped, ms, spelt_out},
        words::{fact, glyph, spread, wide_fact, word},
    },
};

/// What broke: the sentence, the moment, the calls, the drawing, and how to see it again.
pub fn failure(row: &ScenarioResult) -> Markup {
    let Some(failure) = &row.failure else { return Markup::default() };
    let id = format!("broken-{}", row.scenario);
    html! {
        section.failure aria-labelledby=(id) {
            h2 id=(id) {
                (glyph("broken"))
                (row.scenario) " broke"
                @if scenarios::find(row.scenario).is_some() { " in round " (failure.round) }
            }
            p.sentence { (spelt_out(&failure.what)) }
            dl.facts {
                (fact("Kind", html! { (failure.breach.word()) }))
                (fact("Found by", html! { (failure.layer) span.aside { (failure.layer.told()) } }))
                @if let Some(at) = failure.instant_ms {
                    (fact("When", html! { (format!("{at:.3} ms")) span.aside { "into the run" } }))
                }
                (wide_fact("Item", html! { code { (spelt_out(&failure.item)) } }))
                @if !failure.holds.is_empty() {
                    (wide_fact("Holds alive then", html! { (spelt_out(&failure.holds.join(", "))) }))
                }
            }
            @if let Some(drawing) = &row.drawing { (figure(drawing, &format!("lanes-broken-{}", row.scenario))) }
            (events(failure))
            (reproduce(failure))
        }
    }
}

fn events(failure: &Failure) -> Markup {
    // They are padded to stand below each other; what all of them are padded with is not needed.
    let pad = failure.events.iter().map(|event| event.len() - event.trim_start().len()).min().unwrap_or(0);
    let marked = |index: usize| failure.marks.get(index).copied().unwrap_or(false);
    html! {
        h3 { "What happened around it" }
        ol.events tabindex="0" aria-label="Calls in the order in which they returned" {
            @for (index, event) in failure.events.iter().enumerate() {
                li.shows[marked(index)] {
                    @if marked(index) { span.mark { span aria-hidden="true" { "▶" } span.unseen { "Shows it: " } } }
                    code { (spelt_out(&event[pad..])) }
                }
            }
        }
        p.note {
            span.mark aria-hidden="true" { "▶ " }
            "marks calls that show the violation. At most ten calls are told here; the drawing has them all."
        }
    }
}

fn reproduce(failure: &Failure) -> Markup {
    html! {
        h3 { "Reproduce with" }
        @for line in &failure.reproduce {
            div.copy { pre { code { (spelt_out(line)) } } button type="button" data-copy hidden { "Copy" } }
        }
    }
}

/// A race in words, and one of its rounds. What broke is drawn where it is told, and not twice.
pub fn race(row: &ScenarioResult, open: bool) -> Markup {
    let played = scenarios::find(row.scenario);
    let answers =
        if played.is_some() { "Answers of the race proper, all rounds together" } else { "Answers, all together" };
    let most = row.outcomes.values().copied().max().unwrap_or(0).max(1);
    html! {
        details.race id={ "race-" (row.scenario) } open[open] {
            summary {
                h3 { (row.scenario) }
                span class={ "verdict " (word(row)) } { (glyph(word(row))) (word(row)) }
            }
            @if let Some(scenario) = played { (told(scenario)) }
            @for why in &row.undecided { p.why { (spelt_out(why)) } }
            @if !row.outcomes.is_empty() {
                table.bars {
                    caption { (answers) }
                    tbody {
                        @for (word, count) in &row.outcomes {
                            tr {
                                th scope="row" { (spelt_out(&word.replace('_', " "))) }
                                td.number { (grouped(*count)) }
                                @let width = *count as f64 / most as f64 * 100.0;
                                td aria-hidden="true" { span.bar style=(format!("width:{width:.2}%")) {} }
                            }
                        }
                    }
                }
            }
            dl.facts {
                (fact("Rounds", html! { (row.rounds) }))
                (fact("Took", html! { (ms(row.took_ms * 1_000)) }))
                (fact("At once", html! { (row.overlapped) }))
                (fact("Burst spread", html! { (spread(row)) }))
                (fact("Reads while it ran", html! {
                    (grouped(row.samples.0 as u64)) " HTTP, " (grouped(row.samples.1 as u64)) " SQL"
                }))
                (fact("Ledger versions", html! { (grouped(row.versions as u64)) }))
            }
            @if row.failure.is_some() {
                p { a href={ "#broken-" (row.scenario) } { "The broken round is drawn and told above." } }
            } @else if let Some(drawing) = &row.drawing {
                (figure(drawing, &format!("lanes-{}", row.scenario)))
            }
        }
    }
}

/// The head of the scenario's file: paragraphs as paragraphs, the drawing as it was typed.
fn told(scenario: &Scenario) -> Markup {
    let mut blocks: Vec<(bool, Vec<&str>)> = Vec::new();
    for (drawn, line) in scenario.parts() {
        let begins = !drawn && line.is_empty();
        match blocks.last_mut() {
            Some((same, lines)) if *same == drawn && !begins => lines.push(line),
            _ => blocks.push((drawn, vec![line])),
        }
    }
    html! {
        @for (drawn, lines) in &blocks {
            @if *drawn {
                pre.race-drawn tabindex="0" { (lines.join("\n")) }
            } @else if lines.iter().any(|line| !line.is_empty()) {
                p { (ticked(lines.join(" ").trim())) }
            }
        }
    }
}

/// What stands between backticks, as code.
fn ticked(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
