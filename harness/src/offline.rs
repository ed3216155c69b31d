//! Reads a history file back and checks it again, without any deployment.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
};

use crate::{
    checker::{Checked, Limits, check},
    history::{Answer, Call, Event, FORMAT, Outcome, ReservationView},
    model::{Contract, Moved},
    verdict::Verdict,
};

/// A history as a file holds it.
pub struct File {
    /// What the answers are held to.
    pub contract: Contract,
    /// Every call, what was found out later applied.
    pub calls: Vec<Call>,
    /// Deadlines moved by SQL.
    pub moved: Moved,
    /// Whether the run came to its end.
    pub complete: bool,
}

/// Reads a history, or says in one sentence at which line it stops being one.
pub fn read(file: impl Read) -> Result<File, String> {
    let mut contract = None;
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
            Event::Run { contract: given, .. } => contract = Some(given),
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
    let contract = contract.ok_or("the history does not begin with its run: was its start cut off?")?;
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
    Ok(File { contract, calls, moved, complete })
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_file_cut_short_is_told_by_its_line() {
        assert!(verdict(&[RUN, &ITEM[..40]]).is_err_and(|error| error.starts_with("line 2 ")));
        assert!(verdict(&[ITEM]).is_err());
        assert!(verdict(&[]).is_err());
    }
}
