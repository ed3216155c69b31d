//! Reads a history file back.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
};

use crate::history::{
    call::{Answer, Call, Outcome, ReservationView},
    contract::{Contract, Moved},
    recorder::{Event, FORMAT, Struck},
};

/// A history as a file holds it.
pub struct File {
    /// What the answers are held to.
    pub contract: Contract,
    /// Every call, what was found out later applied.
    pub calls: Vec<Call>,
    /// Deadlines moved by SQL.
    pub moved: Moved,
    /// Faults on purpose.
    pub struck: Vec<Struck>,
    /// The run's id.
    pub run: String,
    /// What its choices came from.
    pub seed: u64,
    /// The deployment's base URLs.
    pub instances: Vec<String>,
    /// Whether the run came to its end.
    pub complete: bool,
}

/// Reads a history, or says in one sentence at which line it stops being one, or contradicts itself.
pub fn read(file: impl Read) -> Result<File, String> {
    let mut reading = Reading::default();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let number = index + 1;
        let line = line.map_err(|error| format!("line {number} cannot be read: {error}"))?;
        let event: Event = serde_json::from_str(&line)
            .map_err(|error| format!("line {number} is no event of a history, or was cut short: {error}"))?;
        reading.take(event).map_err(|what| format!("line {number} {what}"))?;
    }
    reading.file()
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    head: Option<(Contract, String, u64, Vec<String>)>,
    calls: Vec<Call>,
    /// Each call's place, by its id.
    places: HashMap<u64, usize>,
    moved: Moved,
    resolved: HashMap<u64, bool>,
    struck: Vec<Struck>,
    ended: Option<u64>,
}

impl Reading {
    fn take(&mut self, event: Event) -> Result<(), String> {
        if self.ended.is_some() {
            return Err("stands behind the end".to_owned());
        }
        match event {
            Event::Run { format, .. } if format != FORMAT => {
                return Err(format!("is of format {format}; this version reads format {FORMAT}"));
            }
            Event::Run { .. } if self.head.is_some() => return Err("is a second head".to_owned()),
            Event::Run { contract, run, seed, instances, .. } => self.head = Some((contract, run, seed, instances)),
            _ if self.head.is_none() => return Err("stands before the run: was the start cut off?".to_owned()),
            Event::Call(call) => self.call(*call)?,
            Event::Deadline { first_ns, last_ns, .. } if first_ns > last_ns => {
                return Err(format!("moves a deadline to between {first_ns} and {last_ns} ns, which is no time"));
            }
            Event::Deadline { reservation, first_ns, last_ns } => {
                self.moved.insert(reservation, (first_ns, last_ns));
            }
            Event::Resolved { call, happened, .. } => self.resolve(call, happened)?,
            Event::End { calls } if calls < self.calls.len() as u64 => {
                return Err(format!("ends a history of {calls} calls, but {} stand before it", self.calls.len()));
            }
            Event::End { calls } => self.ended = Some(calls),
            Event::Nemesis(Struck { from_ns, to_ns, .. }) if from_ns > to_ns => {
                return Err(format!("makes something fail from {from_ns} to {to_ns} ns, which is no time"));
            }
            Event::Nemesis(struck) => self.struck.push(struck),
            Event::Round { .. } => {}
        }
        Ok(())
    }

    fn call(&mut self, call: Call) -> Result<(), String> {
        if self.places.insert(call.id, self.calls.len()).is_some() {
            return Err(format!("repeats call {}", call.id));
        }
        match (call.returned_ns, &call.outcome) {
            (Some(returned_ns), _) if returned_ns < call.invoked_ns => {
                return Err(format!("says that call {} returned before it was sent", call.id));
            }
            (None, Outcome::Ok(_) | Outcome::Refused(_)) => {
                return Err(format!("says that call {} was answered, but not when", call.id));
            }
            _ => {}
        }
        if let Outcome::Ok(answer) = &call.outcome
            && !answer.fits(&call.request)
        {
            return Err(format!(
                "says that call {}, {}, was answered as another verb is",
                call.id,
                call.request.verb()
            ));
        }
        self.calls.push(call);
        Ok(())
    }

    fn resolve(&mut self, call: u64, happened: bool) -> Result<(), String> {
        let known = self.places.get(&call).map(|place| &self.calls[*place].outcome);
        match known {
            None => return Err(format!("resolves call {call}, which does not stand before it")),
            Some(Outcome::Unknown(_)) => {}
            Some(_) => return Err(format!("resolves call {call}, which was answered")),
        }
        if self.resolved.insert(call, happened).is_some_and(|before| before != happened) {
            return Err(format!("resolves call {call} otherwise than a line before it"));
        }
        Ok(())
    }

    fn file(self) -> Result<File, String> {
        let (contract, run, seed, instances) = self.head.ok_or("the history is empty")?;
        let complete = self.ended == Some(self.calls.len() as u64);
        let calls = resolved(self.calls, &self.resolved);
        Ok(File { contract, calls, moved: self.moved, struck: self.struck, run, seed, instances, complete })
    }
}

/// The calls as they are known now: what was found to have happened did, and what was found not to is gone.
pub fn resolved(calls: Vec<Call>, found: &HashMap<u64, bool>) -> Vec<Call> {
    let as_known = |mut call: Call| match found.get(&call.id) {
        None => Some(call),
        Some(false) => None,
        Some(true) => {
            call.outcome = Outcome::Ok(Answer::Reservation(ReservationView::default()));
            Some(call)
        }
    };
    calls.into_iter().filter_map(as_known).collect()
}
