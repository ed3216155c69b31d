//! Tells one violation so that a person can follow it: what, when, which holds were alive, what happened around it, and
//! how to see it again.

use serde::Serialize;

use crate::{
    check::verdict::{Breach, Layer, Violation},
    drive::{
        hold::{Fate, Hold},
        round::Round,
    },
    history::{Call, Request, short, subject, told},
};

const EVENTS_MAX: usize = 10;
const HOLDS_MAX: usize = 12;
const CURLS_MAX: usize = 4;

/// A violation, ready to be read.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Which scenario.
    pub scenario: String,
    /// Which round, from 1.
    pub round: u32,
    /// One sentence with the numbers in it.
    pub what: String,
    /// Which check found it.
    pub layer: Layer,
    /// What it breaches.
    pub breach: Breach,
    /// When, in milliseconds since the run began.
    pub instant_ms: Option<f64>,
    /// The item.
    pub item: String,
    /// The holds alive at that instant.
    pub holds: Vec<String>,
    /// At most ten calls, in the order in which they returned.
    pub events: Vec<String>,
    /// Which of those calls show it.
    pub marks: Vec<bool>,
    /// Lines for a shell.
    pub reproduce: Vec<String>,
}

/// Tells a violation of the round that was just played.
pub fn tell(round: &Round, violation: &Violation) -> Failure {
    let instant = violation.instant_ns.unwrap_or_else(|| round.target().recorder().now_ns());
    let mut failure = told_by(&round.calls, violation, instant);
    let mut reproduce: Vec<String> = Vec::new();
    for call in nearest(&round.calls, violation, instant).iter().filter(|call| violation.calls.contains(&call.id)) {
        if let Some(line) = round.target().curl(call.instance, &call.request)
            && reproduce.len() < CURLS_MAX
            && !reproduce.contains(&line)
        {
            reproduce.push(line);
        }
    }
    reproduce.push(round.command());
    failure.scenario = round.scenario().to_owned();
    failure.round = round.number;
    failure.item = round.item().to_owned();
    failure.holds = alive(round, instant);
    failure.reproduce = reproduce;
    failure
}

/// Tells a violation that a history's check found, where nothing is known but its calls.
pub fn tell_checked(calls: &[Call], item: &str, violation: &Violation, command: String) -> Failure {
    let last = calls.iter().map(|call| call.returned_ns.unwrap_or(call.invoked_ns)).max().unwrap_or(0);
    let mut failure = told_by(calls, violation, violation.instant_ns.unwrap_or(last));
    failure.item = item.to_owned();
    failure.reproduce = vec![command];
    failure
}

fn told_by(calls: &[Call], violation: &Violation, instant: u64) -> Failure {
    let calls = nearest(calls, violation, instant);
    Failure {
        scenario: String::new(),
        round: 1,
        what: violation.what.clone(),
        layer: violation.layer,
        breach: violation.breach,
        instant_ms: violation.instant_ns.map(ms),
        item: String::new(),
        holds: Vec::new(),
        events: calls.iter().map(|call| event(call)).collect(),
        marks: calls.iter().map(|call| violation.calls.contains(&call.id)).collect(),
        reproduce: Vec::new(),
    }
}

fn ms(ns: u64) -> f64 {
    (ns / 1_000) as f64 / 1_000.0
}

/// The calls that show it, then those that returned closest before the instant.
fn nearest<'c>(calls: &'c [Call], violation: &Violation, instant: u64) -> Vec<&'c Call> {
    let mut ranked: Vec<&Call> = calls.iter().filter(|call| call.invoked_ns <= instant).collect();
    ranked.sort_by_key(|call| {
        let shown = violation.calls.contains(&call.id);
        let read = matches!(call.request, Request::GetItem { .. } | Request::GetReservation { .. });
        // Where a whole burst shows it, what succeeded says more than what was refused.
        (!shown, !call.outcome.is_ok(), read && !shown, instant.abs_diff(call.returned_ns.unwrap_or(instant)))
    });
    ranked.truncate(EVENTS_MAX);
    ranked.sort_by_key(|call| call.returned_ns.unwrap_or(u64::MAX));
    ranked
}

/// One line for one call.
pub fn event(call: &Call) -> String {
    let made =
        call.outcome.reservation().and_then(|view| view.id.as_deref()).filter(|_| call.request.verb() == "reserve");
    let shown = call.outcome.item().filter(|_| call.request.verb() == "get_item").map_or_else(String::new, |item| {
        let word = |name: &str, value: Option<i64>| value.map_or_else(String::new, |value| format!(" {name} {value}"));
        format!("{}{}{}", word("available", item.available), word("held", item.held), word("confirmed", item.confirmed))
    });
    let returned = call.returned_ns.map_or_else(|| "never".to_owned(), |returned| format!("{:.3}", ms(returned)));
    format!(
        "{:>11.3} .. {returned:>11} ms  instance {}  client {:<4} {} {} --> {}{}{shown}",
        ms(call.invoked_ns),
        call.instance + 1,
        call.client,
        call.request.verb(),
        subject(call),
        told(&call.outcome, call.status),
        made.map_or_else(String::new, |id| format!(" as {}", short(id))),
    )
}

fn alive(round: &Round, instant: u64) -> Vec<String> {
    let returned =
        |id: u64| round.calls.iter().find(|call| call.id == id).and_then(|call| call.returned_ns).unwrap_or(u64::MAX);
    let lives = |hold: &&Hold| {
        let ended = hold.confirmed_by.iter().chain(&hold.cancelled_by).any(|id| returned(*id) <= instant);
        returned(hold.made_by) <= instant && !ended && hold.fate(instant) != Fate::Expired
    };
    let alive: Vec<&Hold> = round.holds.values().filter(lives).collect();
    let mut lines: Vec<String> =
        alive.iter().take(HOLDS_MAX).map(|hold| format!("{} holds {}", short(&hold.id), hold.quantity)).collect();
    if alive.len() > HOLDS_MAX {
        lines.push(format!("and {} more", alive.len() - HOLDS_MAX));
    }
    lines
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "BROKEN  {}, round {}: {} ({})", self.scenario, self.round, self.breach.word(), self.layer)?;
        writeln!(out, "  what     {}", self.what)?;
        if let Some(instant_ms) = self.instant_ms {
            writeln!(out, "  instant  {instant_ms:.3} ms after the run began, item {}", self.item)?;
        }
        let holds = if self.holds.is_empty() { "none".to_owned() } else { self.holds.join(", ") };
        writeln!(out, "  holds    {holds}")?;
        for (index, event) in self.events.iter().enumerate() {
            writeln!(out, "  {}  {event}", if index == 0 { "events " } else { "       " })?;
        }
        writeln!(out, "  Reproduce with:")?;
        for line in &self.reproduce {
            writeln!(out, "    {line}")?;
        }
        Ok(())
    }
}
