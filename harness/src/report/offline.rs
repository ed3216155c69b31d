//! The check of a file as the result of one scenario, to be reported.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    check::{Checked, verdict::Violation},
    drive::{
        drawing::Drawing,
        latency::Latencies,
        race::{RaceResult, ScenarioResult},
        telling::{self, Failure},
    },
    history::{Call, File, outcome_word, overlap},
};

/// What a report calls the check of a file.
const SCENARIO: &str = "history";

/// The check as the result of one scenario, to be reported: what refutes is told and drawn, or else the item with
/// the most calls is drawn.
pub fn result(file: &File, checked: &Checked, took: Duration, command: String) -> RaceResult {
    let violation = checked.violations.first();
    let calls = calls_to_draw(file, violation);
    let item = calls.iter().find_map(|call| call.item.clone()).unwrap_or_default();
    let mut latencies = Latencies::default();
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for call in &file.calls {
        latencies.note(call);
        *outcomes.entry(format!("{} {}", call.request.verb(), outcome_word(&call.outcome))).or_default() += 1;
    }
    let failure = violation.map(|violation| {
        let told = telling::tell_checked(&calls, &item, violation, command);
        Failure { scenario: SCENARIO.to_owned(), ..told }
    });
    let row = ScenarioResult {
        scenario: SCENARIO,
        rounds: 1,
        verdict: checked.verdict,
        outcomes,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        spread_us: (0, 0),
        overlapped: overlap(&calls),
        samples: (0, 0),
        versions: 0,
        states: 0,
        layers: checked
            .violations
            .iter()
            .map(|violation| violation.layer)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        loosely: checked.loosely,
        undecided: checked.undecided.clone(),
        failure,
        breaches: checked
            .violations
            .iter()
            .map(|violation| violation.breach)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        skipped: false,
        dispensable: false,
        drawing: Drawing::of(&calls, file.contract, &file.moved, None, violation)
            .map(|drawing| drawing.struck(&file.struck)),
    };
    RaceResult {
        seed: file.seed,
        scenarios: vec![row],
        verdict: checked.verdict,
        departures: Vec::new(),
        strict: false,
        stopped: None,
        internal: None,
        latencies,
    }
}

/// The calls of one item: the one a violation is about, or else the one with the most.
fn calls_to_draw(file: &File, violation: Option<&Violation>) -> Vec<Call> {
    let shown = violation.and_then(|violation| {
        let about = |call: &&Call| call.about().is_some() && violation.calls.contains(&call.id);
        file.calls.iter().find(about).and_then(Call::about)
    });
    let mut counts: HashMap<&str, usize> = HashMap::new();
    file.calls.iter().filter_map(Call::about).for_each(|item| *counts.entry(item).or_default() += 1);
    // Among equals the name decides, so that one file makes one report.
    let most = || counts.iter().max_by_key(|(item, count)| (**count, **item)).map(|(item, _)| *item);
    let item = shown.or_else(most);
    file.calls.iter().filter(|call| call.about() == item).cloned().collect()
}
