//! Reads a history file back.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
};

use crate::history::{
    call::{Answer, Call, Outcome, ReservationView},
    contract::{Contract, Moved},
    recorder::{Event, FORMAT},
};

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
