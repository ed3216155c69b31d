//! Reads a history file back and checks it again, without any deployment.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Read},
    time::Duration,
};

use crate::{
    checker::{Checked, Limits, check},
    client::overlap,
    drawing::Drawing,
    history::{Answer, Call, Event, FORMAT, Outcome, ReservationView},
    latency::Latencies,
    model::{Contract, Moved},
    race::{RaceResult, ScenarioResult},
    round::outcome_word,
    telling::{self, Failure},
    verdict::{Verdict, Violation},
};

/// What a report calls the check of a file.
const SCENARIO: &str = "history";

/// A history as a file holds it.
pub struct File {
    /// What the answers are held to.
    pub contract: Contract,
    /// Every call, what was found out later applied.
    pub calls: Vec<Call>,
    /// Deadlines moved by SQL.
    pub moved: Moved,
    /// The run's id.
    pub run: String,
    /// What its choices came from.
    pub seed: u64,
    /// The deployment's base URLs.
    pub instances: Vec<String>,
    /// Whether the run came to its end.
    pub complete: bool,
}

/// Reads a history, or says in one sentence at which line it stops being one.
pub fn read(file: impl Read) -> Result<File, String> {
    let mut head = None;
    let mut calls: Vec<Call> = Vec::new();
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut moved = Moved::new();
    let mut resolved: Vec<(u64, bool)> = Vec::new();
    let mut ended = None;
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let number = index + 1;
        let line = line.map_err(|error| format!("line {number} cannot be read: {error}"))?;
        let event: Event = serde_json::from_str(&line)
            .map_err(|error| format!("line {number} is no event of a history, or was cut short: {error}"))?;
        match event {
            Event::Run { format, .. } if format != FORMAT => {
                return Err(format!("the history is of format {format}; this version reads format {FORMAT}"));
            }
            Event::Run { contract, run, seed, instances, .. } => head = Some((contract, run, seed, instances)),
            Event::Call(call) => {
                if places.insert(call.id, calls.len()).is_some() {
                    return Err(format!("line {number} repeats call {}", call.id));
                }
                calls.push(*call);
            }
            Event::Deadline { reservation, first_ns, last_ns } => {
                moved.insert(reservation, (first_ns, last_ns));
            }
            Event::Resolved { call, happened, .. } => resolved.push((call, happened)),
            Event::End { calls } => ended = Some(calls),
            Event::Round { .. } => {}
        }
    }
    let (contract, run, seed, instances) =
        head.ok_or("the history does not begin with its run: was its start cut off?")?;
    let complete = ended == Some(calls.len() as u64);
    let mut dropped = Vec::new();
    for (id, happened) in resolved {
        let Some(place) = places.get(&id) else { continue };
        if happened {
            calls[*place].outcome = Outcome::Ok(Answer::Reservation(ReservationView::default()));
        } else {
            dropped.push(id);
        }
    }
    calls.retain(|call| !dropped.contains(&call.id));
    Ok(File { contract, calls, moved, run, seed, instances, complete })
}

impl File {
    /// Checks every item.
    pub fn check(&self, limits: Limits) -> Checked {
        let mut checked = check(&self.calls, self.contract, &self.moved, limits);
        if !self.complete {
            // Whatever is missing could explain what is there, but not excuse what is refuted.
            checked.undecided.push("the history has no end: the run was cut short".to_owned());
            checked.verdict = checked.verdict.max(Verdict::Undecided);
        }
        checked
    }

    /// The check as the result of one scenario, to be reported: what refutes is told and drawn, or else the item with
    /// the most calls is drawn.
    pub fn result(&self, checked: &Checked, took: Duration, command: String) -> RaceResult {
        let violation = checked.violations.first();
        let calls = self.calls_to_draw(violation);
        let item = calls.iter().find_map(|call| call.item.clone()).unwrap_or_default();
        let mut latencies = Latencies::default();
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        for call in &self.calls {
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
            layers: violation.map(|violation| violation.layer.clone()).into_iter().collect(),
            loosely: checked.loosely,
            undecided: checked.undecided.clone(),
            failure,
            skipped: false,
            drawing: Drawing::of(&calls, self.contract, &self.moved, None, violation),
        };
        RaceResult { seed: self.seed, scenarios: vec![row], verdict: checked.verdict, stopped: None, latencies }
    }

    /// The calls of one item: the one a violation is about, or else the one with the most.
    fn calls_to_draw(&self, violation: Option<&Violation>) -> Vec<Call> {
        let shown = violation.and_then(|violation| {
            let about = |call: &&Call| call.about().is_some() && violation.calls.contains(&call.id);
            self.calls.iter().find(about).and_then(Call::about)
        });
        let mut counts: HashMap<&str, usize> = HashMap::new();
        self.calls.iter().filter_map(Call::about).for_each(|item| *counts.entry(item).or_default() += 1);
        // Among equals the name decides, so that one file makes one report.
        let most = || counts.iter().max_by_key(|(item, count)| (**count, **item)).map(|(item, _)| *item);
        let item = shown.or_else(most);
        self.calls.iter().filter(|call| call.about() == item).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ASIDE;

    const RUN: &str = r#"{"event":"run","format":1,"run":"r","seed":1,"instances":["http://a/"],"contract":{"repeated_confirm_is_ok":true,"repeated_cancel_is_ok":true,"lapse_frees_at_once":true,"exact_reasons":true,"ttl_is_honoured":true,"rounding_ns":0}}"#;
    const ITEM: &str = r#"{"event":"call","id":1,"client":0,"instance":0,"concerns":"i","verb":"create_item","name":"n","total":1,"invoked_ns":1,"returned_ns":2,"status":201,"outcome":{"ok":{"item":{"id":"i"}}}}"#;

    fn reserve(id: u64, outcome: &str) -> String {
        let at = 10 * id;
        format!(
            r#"{{"event":"call","id":{id},"client":0,"instance":0,"concerns":"i","verb":"reserve","item":"i","customer":"c","quantity":1,"invoked_ns":{at},"returned_ns":{},"status":201,"outcome":{outcome}}}"#,
            at + 5
        )
    }

    fn verdict(lines: &[&str]) -> Result<Verdict, String> {
        read(lines.join("\n").as_bytes()).map(|file| file.check(Limits::default()).verdict)
    }

    #[test]
    fn a_good_file_is_held_and_a_bad_one_broken() {
        let first = reserve(2, r#"{"ok":{"reservation":{"id":"a"}}}"#);
        let refused = reserve(3, r#"{"refused":"insufficient_availability"}"#);
        let second = reserve(3, r#"{"ok":{"reservation":{"id":"b"}}}"#);
        let end = r#"{"event":"end","calls":3}"#;
        assert_eq!(verdict(&[RUN, ITEM, &first, &refused, end]), Ok(Verdict::Held));
        assert_eq!(verdict(&[RUN, ITEM, &first, &second, end]), Ok(Verdict::Broken));
        assert_eq!(verdict(&[RUN, ITEM, &first, &refused]), Ok(Verdict::Undecided));
        assert_eq!(verdict(&[RUN, ITEM, &first, &second]), Ok(Verdict::Broken));
    }

    #[test]
    fn what_was_done_aside_is_no_part_of_any_history() {
        let aside = |line: &str| line.replace(r#""concerns":"i""#, &format!(r#""concerns":"{ASIDE}""#));
        let first = reserve(2, r#"{"ok":{"reservation":{"id":"a"}}}"#);
        let second = reserve(3, r#"{"ok":{"reservation":{"id":"b"}}}"#);
        let end = r#"{"event":"end","calls":4}"#;
        let item_again = aside(ITEM).replace(r#""id":1,"#, r#""id":4,"#);
        assert_eq!(verdict(&[RUN, ITEM, &first, &aside(&second), &item_again, end]), Ok(Verdict::Held));
    }

    #[test]
    fn a_file_cut_short_is_told_by_its_line() {
        assert!(verdict(&[RUN, &ITEM[..40]]).is_err_and(|error| error.starts_with("line 2 ")));
        assert!(verdict(&[ITEM]).is_err());
        assert!(verdict(&[]).is_err());
    }
}
