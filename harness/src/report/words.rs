//! What the page and the other files of a report say in the same words.

use maud::{Markup, html};

use crate::{
    check::verdict::Verdict,
    drive::race::{RaceResult, ScenarioResult},
    report::{setting::Setting, text::counted},
};

/// A name and what it stands for.
pub fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// One that may take a line to itself.
pub fn wide_fact(name: &str, value: Markup) -> Markup {
    html! { div.wide { dt { (name) } dd { (value) } } }
}

/// A shape for each verdict, so that none is told by its colour alone.
pub fn glyph(word: &str) -> Markup {
    let path = match word {
        "held" => "M4.5 8.5l2.4 2.4 4.8-5.4",
        "broken" => "M5 5l6 6M11 5l-6 6",
        "skipped" => "M4.5 8h7",
        _ => "M8 4.2v4.6M8 11.3v.2",
    };
    html! {
        svg class={ "glyph " (word) } viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" {
            circle cx="8" cy="8" r="7.25" {}
            path d=(path) {}
        }
    }
}

pub fn word(row: &ScenarioResult) -> &'static str {
    if row.skipped { "skipped" } else { row.verdict.word() }
}

/// Whether any version of a ledger was audited.
pub fn audited(result: &RaceResult) -> bool {
    result.scenarios.iter().any(|row| row.versions > 0)
}

/// Whether committed states were replayed from the database's log.
pub fn replayed(result: &RaceResult) -> bool {
    result.scenarios.iter().any(|row| row.states > 0)
}

/// What the verdict rests on, in a line.
pub fn evidence_level(result: &RaceResult, setting: &Setting) -> String {
    let mut level = if setting.checked.is_some() {
        "a history file: what callers were told"
    } else if replayed(result) {
        "HTTP, the database, every version of its ledger, and every committed state from its log"
    } else if audited(result) {
        "HTTP, the database, and every version of its ledger"
    } else if setting.database {
        "HTTP and the database, which keeps no ledger that could be read"
    } else {
        "HTTP alone"
    }
    .to_owned();
    if setting.control.iter().any(|kill| kill.found_by.is_some()) {
        level.push_str("; a control with a planted fault was found broken first");
    }
    level
}

pub fn spread(row: &ScenarioResult) -> String {
    if row.spread_us.1 == 0 {
        return "–".to_owned();
    }
    format!("{:.1} / {:.1} ms", row.spread_us.0 as f64 / 1_000.0, row.spread_us.1 as f64 / 1_000.0)
}

/// Everything a reader might think was shown and was not, in sentences.
pub fn not_checked(result: &RaceResult, setting: &Setting) -> Vec<String> {
    let mut list = Vec::new();
    for row in &result.scenarios {
        if row.skipped {
            list.push(format!("{}: not played here: {}.", row.scenario, row.undecided.join("; ")));
        } else if row.verdict == Verdict::Undecided {
            let why = if row.undecided.is_empty() {
                "it was not played to its end".to_owned()
            } else {
                row.undecided.join("; ")
            };
            list.push(format!("{}: undecided: {why}.", row.scenario));
        }
    }
    if !setting.left_out.is_empty() {
        list.push(format!("Not asked for: {}.", setting.left_out.join(", ")));
    }
    let loosely: usize = result.scenarios.iter().map(|row| row.loosely).sum();
    if loosely > 0 {
        list.push(format!(
            "{}, in a crowd of other calls, {} only compared with what can have been, and not put in order.",
            counted(loosely, "read", "reads"),
            if loosely == 1 { "was" } else { "were" }
        ));
    }
    if !audited(result) {
        list.push("A committed state that no answer showed: no ledger was read.".to_owned());
    }
    if !replayed(result) {
        list.push(
            "Committed states apart from the service’s own books: the database’s log was not decoded.".to_owned(),
        );
    }
    if setting.checked.is_none() {
        list.push(
            "How the service’s own scheduler splits two plain reads of one request: that is not controlled.".to_owned(),
        );
        list.push(if setting.http2 {
            "Bursts over HTTP/1.1: they went over HTTP/2, and only what is called alone over HTTP/1.1.".to_owned()
        } else {
            "HTTP/2: every call went over HTTP/1.1 (--http2).".to_owned()
        });
        if setting.control.is_empty() {
            list.push("Whether this instrument can fail: no control was asked for (--require-control).".to_owned());
        }
    }
    list.extend(
        setting.found.iter().map(|found| format!("The deployment’s dialect was found out, not given: {found}.")),
    );
    list
}
