//! The page: the verdict and what it rests on come first, then what was played and what broke, then every race, then what
//! was not checked.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    check::verdict::Verdict,
    drive::race::RaceResult,
    report::{
        scenario,
        sections::{control, evidence, latency, section},
        setting::Setting,
        text::{counted, grouped, ms, spelt_out},
        words::{evidence_level, fact, glyph, not_checked, spread, wide_fact, word},
    },
};

/// Colours, type and spacing, for any page of the harness.
pub const THEME: &str = include_str!("theme.css");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page, as one file.
pub fn html(result: &RaceResult, setting: &Setting) -> String {
    let subject = match &setting.checked {
        Some(file) => file.clone(),
        None => setting.urls.join(", "),
    };
    // Nobody who writes into an answer of the target knows it, so nothing they write can run.
    let nonce = uuid::Uuid::now_v7().simple().to_string();
    let policy = format!(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; base-uri 'none'; \
         form-action 'none'"
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title(result)) ": " (spelt_out(&subject)) }
                style { (PreEscaped(THEME)) (PreEscaped(STYLE)) }
            }
            body {
                (header(result, setting, &subject))
                main {
                    (table(result))
                    (departures(result))
                    @for row in result.scenarios.iter().filter(|row| row.failure.is_some()) { (scenario::failure(row)) }
                    (races(result))
                    @for (number, one) in setting.sections.iter().enumerate() { (section(one, number)) }
                    (latency(result))
                    (control(&setting.control))
                    (evidence(result, setting))
                    section aria-labelledby="not-checked" {
                        h2 #not-checked { "What was not checked" }
                        ul.plain { @for what in not_checked(result, setting) { li { (spelt_out(&what)) } } }
                    }
                }
                footer {
                    p { "Written by stockhold-harness " (env!("CARGO_PKG_VERSION")) ". Beside this page: "
                        code { "junit.xml" } ", " code { "summary.json" } ", and " code { "history.jsonl" }
                        ", every call of it: "
                        code { "stockhold-harness check history.jsonl" } " judges it again." }
                }
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn title(result: &RaceResult) -> &'static str {
    match result.verdict {
        Verdict::Held => "Held",
        Verdict::Undecided => "Undecided",
        Verdict::Broken => "Broken",
    }
}

fn header(result: &RaceResult, setting: &Setting, subject: &str) -> Markup {
    let word = result.verdict.word();
    let command = if setting.checked.is_some() { "check" } else { "race" };
    let took_ms: u64 = result.scenarios.iter().map(|row| row.took_ms).sum();
    let calls: usize = result.latencies.quantiles().values().map(|verb| verb.calls).sum();
    html! {
        header class=(word) {
            p.what { "stockhold-harness" span aria-hidden="true" { " · " } (command) }
            h1 { (glyph(word)) (title(result)) }
            p.lead { (spelt_out(&lead(result, setting))) }
            @if let Some(stopped) = &result.stopped {
                p.stopped { strong { "Stopped early: " } (spelt_out(&stopped.why)) "." }
            }
            p.level {
                strong { "Evidence: " } (evidence_level(result, setting)) ". "
                a href="#evidence" { "What it proves, and what not" }
            }
            dl.facts {
                (wide_fact(if setting.checked.is_some() { "History" } else { "Target" }, html! { (spelt_out(subject)) }))
                (fact("Seed", html! { (result.seed) }))
                (fact("Run", html! { (spelt_out(&setting.run)) }))
                (fact("Began", html! {
                    time datetime=(setting.began.to_rfc3339()) { (setting.began.format("%Y-%m-%d %H:%M UTC")) }
                }))
                (fact("Took", html! { (ms(took_ms * 1_000)) }))
                (fact("Answered calls", html! { (grouped(calls as u64)) }))
            }
        }
    }
}

/// The verdict in a sentence.
fn lead(result: &RaceResult, setting: &Setting) -> String {
    if setting.checked.is_some() {
        return match result.verdict {
            Verdict::Held => "Some order of the calls explains every answer.",
            Verdict::Undecided => "Neither an order that explains every answer was found, nor that there is none.",
            Verdict::Broken => "No order of the calls explains every answer.",
        }
        .to_owned();
    }
    let named = |wanted: &str| -> Vec<&str> {
        result.scenarios.iter().filter(|row| word(row) == wanted).map(|row| row.scenario).collect()
    };
    let (held, broken, undecided, skipped) = (named("held"), named("broken"), named("undecided"), named("skipped"));
    let rounds: u64 = result.scenarios.iter().map(|row| u64::from(row.rounds)).sum();
    let of = counted(result.scenarios.len(), "scenario", "scenarios");
    let mut lead = match result.verdict {
        Verdict::Broken => {
            format!(
                "{} of {of} broke an expectation that no order of the calls can excuse: {}.",
                broken.len(),
                broken.join(", ")
            )
        }
        Verdict::Held => format!(
            "Every expectation was met, in {} of {}.",
            counted(rounds as usize, "round", "rounds"),
            counted(held.len(), "scenario", "scenarios")
        ),
        Verdict::Undecided if undecided.is_empty() => "Nothing was raced to its end, so nothing is known.".to_owned(),
        Verdict::Undecided => {
            format!("Too little was seen to call it held, and nothing to call it broken: {}.", undecided.join(", "))
        }
    };
    if result.verdict == Verdict::Broken && !undecided.is_empty() {
        lead.push_str(&format!(" Undecided: {}.", undecided.join(", ")));
    }
    if !skipped.is_empty() {
        lead.push_str(&format!(" Not played here: {}.", skipped.join(", ")));
    }
    lead
}

fn table(result: &RaceResult) -> Markup {
    html! {
        section aria-labelledby="scenarios" {
            h2 #scenarios { "Scenarios" }
            div.scroll tabindex="0" role="region" aria-labelledby="scenarios" {
                table.scenarios {
                    thead { tr {
                        th scope="col" { "Scenario" } th scope="col" { "Verdict" }
                        th.number.narrow-not scope="col" { "Rounds" }
                        th.narrow-not scope="col" { "Outcomes" } th.number.narrow-not scope="col" { "At once" }
                        th.number.narrow-not scope="col" { "Burst spread" } th.number scope="col" { "Time" }
                    } }
                    tbody {
                        @for row in &result.scenarios {
                            tr {
                                @let place = if row.failure.is_some() { "broken" } else { "race" };
                                th scope="row" { a href={ "#" (place) "-" (row.scenario) } { (row.scenario) } }
                                td { span class={ "verdict " (word(row)) } { (glyph(word(row))) (word(row)) } }
                                td.number.narrow-not { (row.rounds) }
                                td.outcomes.narrow-not {
                                    @for (word, count) in &row.outcomes {
                                        span { b { (grouped(*count)) } " " (spelt_out(&word.replace('_', " "))) } " "
                                    }
                                }
                                td.number.narrow-not { @if row.overlapped > 0 { (row.overlapped) } @else { "–" } }
                                td.number.narrow-not { (spread(row)) }
                                td.number { (ms(row.took_ms * 1_000)) }
                            }
                        }
                    }
                }
            }
            p.note {
                "At once: calls under way at the fullest moment. Burst spread: from the first released call to the "
                "last, median and widest round."
            }
        }
    }
}

/// What the deployment does otherwise than the assignment says, where that is allowed.
fn departures(result: &RaceResult) -> Markup {
    html! {
        @if !result.departures.is_empty() {
            section aria-labelledby="departures" {
                h2 #departures { "Departures from the assignment" }
                ul.plain { @for what in &result.departures { li { (spelt_out(what)) } } }
                p.note {
                    @if result.strict { "Each counts as broken here: --strict was given." }
                    @else { "Each is allowed; --strict counts it as broken." }
                }
            }
        }
    }
}

fn races(result: &RaceResult) -> Markup {
    html! {
        section aria-labelledby="races" {
            h2 #races { "The races" }
            @for row in &result.scenarios { (scenario::race(row, result.scenarios.len() == 1)) }
        }
    }
}
