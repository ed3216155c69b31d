//! Tells one violation so that a person can follow it: what, when, which holds were alive, what happened around it, and
//! how to see it again.

use serde::Serialize;

use crate::{
    checker::sweep,
    history::{Call, Request},
    hold::{Fate, Hold},
    model::{Contract, by_item},
    round::{Round, told},
    verdict::Violation,
};

const EVENTS_MAX: usize = 10;
const HOLDS_MAX: usize = 12;
const CURLS_MAX: usize = 4;
const BARS_MAX: usize = 400;

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
    pub layer: String,
    /// When, in milliseconds since the run began.
    pub instant_ms: Option<f64>,
    /// The item.
    pub item: String,
    /// The holds alive at that instant.
    pub holds: Vec<String>,
    /// At most ten calls, in the order in which they returned.
    pub events: Vec<String>,
    /// Lines for a shell.
    pub reproduce: Vec<String>,
    /// All units the item has.
    pub total: i64,
    /// The round's calls, for a drawing.
    #[serde(skip)]
    pub timeline: Vec<Bar>,
    /// When, units certainly taken, units possibly taken: for a drawing.
    #[serde(skip)]
    pub band: Vec<(f64, i64, i64)>,
}

/// One call, to be drawn.
#[derive(Clone, Debug)]
pub struct Bar {
    /// From its invocation, in milliseconds.
    pub from_ms: f64,
    /// To its return, or to the end of the round.
    pub to_ms: f64,
    /// What it was.
    pub label: String,
    /// Whether it was done.
    pub ok: bool,
    /// Whether it shows the violation.
    pub marked: bool,
    /// Units taken, where it is a read that says so.
    pub taken: Option<i64>,
}

/// Tells a violation of the round that was just played.
pub fn tell(round: &Round, violation: &Violation) -> Failure {
    let instant = violation.instant_ns.unwrap_or_else(|| round.target().recorder().now_ns());
    let calls = nearest(&round.calls, violation, instant);
    let mut reproduce: Vec<String> = Vec::new();
    for call in calls.iter().filter(|call| violation.calls.contains(&call.id)) {
        if let Some(line) = round.target().curl(call.instance, &call.request)
            && reproduce.len() < CURLS_MAX
            && !reproduce.contains(&line)
        {
            reproduce.push(line);
        }
    }
    reproduce.push(round.command());
    Failure {
        scenario: round.scenario().to_owned(),
        round: round.number,
        what: violation.what.clone(),
        layer: violation.layer.clone(),
        instant_ms: violation.instant_ns.map(ms),
        item: round.item().to_owned(),
        holds: alive(round, instant),
        events: calls.iter().map(|call| event(call)).collect(),
        reproduce,
        total: round.total(),
        timeline: timeline(round, violation),
        band: band(round),
    }
}

fn timeline(round: &Round, violation: &Violation) -> Vec<Bar> {
    let end = round.calls.iter().filter_map(|call| call.returned_ns).max().unwrap_or(0);
    let bar = |call: &Call| Bar {
        from_ms: ms(call.invoked_ns),
        to_ms: ms(call.returned_ns.unwrap_or(end)),
        label: event(call).trim().to_owned(),
        ok: call.outcome.is_ok(),
        marked: violation.calls.contains(&call.id),
        taken: call.outcome.item().and_then(|item| Some(round.total() - item.available?)),
    };
    let mut bars: Vec<Bar> =
        round.calls.iter().filter(|call| !matches!(call.request, Request::CreateItem { .. })).map(bar).collect();
    bars.sort_by(|one, other| one.from_ms.total_cmp(&other.from_ms));
    // Where there are too many to be told apart, those that show something stay.
    if bars.len() > BARS_MAX {
        let mut plain = BARS_MAX.saturating_sub(bars.iter().filter(|bar| bar.marked).count());
        bars.retain(|bar| {
            let kept = bar.marked || plain > 0;
            plain = plain.saturating_sub(usize::from(!bar.marked));
            kept
        });
    }
    bars
}

fn band(round: &Round) -> Vec<(f64, i64, i64)> {
    let contract = Contract::from(round.target().dialect());
    let histories = by_item(&round.calls, contract, round.moved());
    let Some(history) = histories.first() else { return Vec::new() };
    let (certain, possible) = sweep::spans(history);
    let mut edges: Vec<(u64, i64, i64)> = Vec::new();
    for (spans, is_certain) in [(certain, true), (possible, false)] {
        for span in spans {
            let step = |quantity: i64| if is_certain { (quantity, 0) } else { (0, quantity) };
            for (at, (least, most)) in [(span.from_ns, step(span.quantity)), (span.to_ns, step(-span.quantity))] {
                if at != u64::MAX {
                    edges.push((at, least, most));
                }
            }
        }
    }
    edges.sort_unstable();
    let mut sums = (0, 0);
    let step = |(at, least, most): (u64, i64, i64)| {
        sums = (sums.0 + least, sums.1 + most);
        (ms(at), sums.0, sums.1)
    };
    edges.into_iter().map(step).collect()
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
    let subject = match &call.request {
        Request::CreateItem { total, .. } => format!("of {total}"),
        Request::Reserve { quantity, ttl_ms: Some(ttl_ms), .. } => format!("{quantity} for {ttl_ms} ms"),
        Request::Reserve { quantity, .. } => format!("{quantity}"),
        other => other.reservation().map_or_else(String::new, short),
    };
    let made =
        call.outcome.reservation().and_then(|view| view.id.as_deref()).filter(|_| call.request.verb() == "reserve");
    let shown = call.outcome.item().filter(|_| call.request.verb() == "get_item").map_or_else(String::new, |item| {
        let word = |name: &str, value: Option<i64>| value.map_or_else(String::new, |value| format!(" {name} {value}"));
        format!("{}{}{}", word("available", item.available), word("held", item.held), word("confirmed", item.confirmed))
    });
    let returned = call.returned_ns.map_or_else(|| "never".to_owned(), |returned| format!("{:.3}", ms(returned)));
    format!(
        "{:>11.3} .. {returned:>11} ms  instance {}  client {:<4} {} {subject} --> {}{}{shown}",
        ms(call.invoked_ns),
        call.instance + 1,
        call.client,
        call.request.verb(),
        told(&call.outcome, call.status),
        made.map_or_else(String::new, |id| format!(" as {}", short(id))),
    )
}

/// The end of an id tells it apart; the start of a time-ordered one does not.
fn short(id: &str) -> String {
    let letters: Vec<char> = id.chars().collect();
    if letters.len() <= 12 {
        id.to_owned()
    } else {
        format!("…{}", letters[letters.len() - 8..].iter().collect::<String>())
    }
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
        writeln!(out, "BROKEN  {}, round {} ({})", self.scenario, self.round, self.layer)?;
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
