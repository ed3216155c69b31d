//! Decides whether a history can be explained. Four layers are all run, and the worst verdict wins: single answers and ids
//! ([`answers`]), each hold's life ([`lifecycle`]), the units certainly and possibly taken ([`occupancy`]), and the search
//! for an order that explains every answer ([`search`]). What stays unknown after that ([`unknown`]), and a history in
//! which nothing was sold, is undecided. [`ledger`] and [`books`] compare with the service's own rows, where a live run
//! reads them.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    check::{
        by_item::by_item,
        model::{Act, ItemHistory, Op},
        verdict::{Breach, Decision, Verdict, Violation},
    },
    history::{Call, Contract, File, Moved, Request},
};

pub mod answers;
pub mod books;
pub mod by_item;
pub mod ledger;
pub mod lifecycle;
pub mod model;
pub mod occupancy;
pub mod search;
pub mod unknown;
pub mod verdict;

/// What a check may cost. Both bounds are honoured inside its steps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Together, for all items.
    pub time: Duration,
    /// For one item.
    pub item_time: Duration,
    /// States one item's search may remember: each costs some thirty bytes.
    pub states: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { time: Duration::from_secs(50), item_time: Duration::from_secs(5), states: 2_000_000 }
    }
}

/// What a check concludes.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The worst of all items.
    pub verdict: Verdict,
    /// What refutes, item by item.
    pub violations: Vec<Violation>,
    /// Why some item is undecided.
    pub undecided: Vec<String>,
    /// Reads in a crowd of other calls that were compared with what can have been, and not put in order.
    pub loosely: usize,
    /// How many items were checked.
    pub items: usize,
    /// How many operations they had.
    pub operations: usize,
}

/// Checks every item of a history by what the callers were told.
pub fn check<'c>(
    calls: impl IntoIterator<Item = &'c Call>,
    contract: Contract,
    moved: &Moved,
    limits: Limits,
) -> Checked {
    let calls: Vec<&Call> = calls.into_iter().collect();
    let histories = by_item(calls.iter().copied(), contract, moved);
    let deadline = Instant::now() + limits.time;
    let mut checked = Checked {
        verdict: Verdict::Held,
        violations: answers::refute(&calls, contract),
        undecided: unproved(&calls, &histories),
        loosely: 0,
        items: histories.len(),
        operations: histories.iter().map(|history| history.ops.len()).sum(),
    };
    for history in &histories {
        let until = deadline.min(Instant::now() + limits.item_time);
        let about: Vec<&Call> = calls.iter().filter(|call| call.about() == Some(&history.item)).copied().collect();
        checked.item(history, &about, until, limits.states);
    }
    checked.verdict = if !checked.violations.is_empty() {
        Verdict::Broken
    } else if !checked.undecided.is_empty() {
        Verdict::Undecided
    } else {
        Verdict::Held
    };
    checked
}

/// Why a history proves nothing, or nothing about some of its items.
fn unproved(calls: &[&Call], histories: &[ItemHistory]) -> Vec<String> {
    let mut why = Vec::new();
    if histories.is_empty() {
        why.push("the history creates no item, so there is nothing to check".to_owned());
    }
    let known: HashSet<&str> = histories.iter().map(|history| history.item.as_str()).collect();
    let mut strange: Vec<&str> =
        calls.iter().filter_map(|call| call.about()).filter(|item| !known.contains(item)).collect();
    strange.sort_unstable();
    strange.dedup();
    why.extend(
        strange.iter().map(|item| format!("item {item}: its creation is not known, so its total is not either")),
    );
    why
}

impl Checked {
    /// Every layer looks at an item; none hides another's finding.
    fn item(&mut self, history: &ItemHistory, calls: &[&Call], until: Instant, states: usize) {
        self.violations.extend(lifecycle::refute(history, calls));
        self.violations.extend(occupancy::refute(history));
        // What is refuted already is searched for another finding, and not for long.
        let until = if self.violations.is_empty() { until } else { until.min(Instant::now() + SECOND_LOOK) };
        match find_order(history, until, states) {
            Decision::Explained => {}
            Decision::ExplainedBut(reads) => self.loosely += reads,
            Decision::Refuted(violation) => {
                // Where everything but the reads can be put in order, the writes hold.
                let until = Instant::now() + SECOND_LOOK;
                let writes = search::search(&without_reads(history), until, states / 4);
                let breach = if writes == Decision::Explained { Breach::ShowsWhatNeverWas } else { violation.breach };
                self.violations.push(Violation { breach, ..violation });
            }
            Decision::Undecided(why) => self.undecided.push(format!("item {}: {why}", history.item)),
        }
        if !self.violations.is_empty() {
            return;
        }
        let until = until.min(Instant::now() + SETTLING);
        let open = unknown::unsettled(history, calls, until, states / 4);
        if let Some(first) = open.first() {
            let verb = calls.iter().find(|call| call.id == *first).map_or("", |call| call.request.verb());
            self.undecided.push(format!(
                "item {}: of {} calls it stays unknown whether they happened, the first is call {first}, {verb}",
                history.item,
                open.len()
            ));
        }
    }
}

fn without_reads(history: &ItemHistory) -> ItemHistory {
    let reads = |op: &&Op| matches!(op.act, Act::Read { .. } | Act::Observe { .. });
    let ops = history.ops.iter().filter(|op| !reads(op)).copied().collect();
    ItemHistory { ops, ..history.clone() }
}

/// How long an item that is refuted already is searched.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// How long is tried to settle the unknown calls of an item; what is not settled by then stays open.
const SETTLING: Duration = Duration::from_secs(2);

/// Reads with many effects under way beside them are the search's worst case, and prove least: where no order is found
/// soon, those in a crowd larger than this are left out, then those in a smaller one.
const CROWDS: [usize; 3] = [24, 6, 0];

/// Looks for an order that explains one item. Reads that are left out have been compared by `occupancy` with what was
/// certainly and what was possibly taken; what cannot be explained without them cannot be explained with them.
pub fn find_order(history: &ItemHistory, deadline: Instant, states: usize) -> Decision {
    let part = || Instant::now() + deadline.saturating_duration_since(Instant::now()) / 4;
    let mut decision = search::search(history, part(), states / 4);
    for crowd in CROWDS {
        if !matches!(decision, Decision::Undecided(_)) {
            break;
        }
        let (fewer, left_out) = without_crowded_reads(history, crowd);
        let until = if crowd == 0 { deadline } else { part() };
        decision = match search::search(&fewer, until, states / 4) {
            Decision::Explained if left_out > 0 => Decision::ExplainedBut(left_out),
            decision => decision,
        };
    }
    decision
}

fn without_crowded_reads(history: &ItemHistory, crowd: usize) -> (ItemHistory, usize) {
    let effect = |op: &&Op| op.act.changes().is_some() && op.call.is_some();
    let mut begins: Vec<u64> = history.ops.iter().filter(effect).map(|op| op.invoked_ns).collect();
    let mut ends: Vec<u64> = history.ops.iter().filter(effect).map(|op| op.returned_ns).collect();
    begins.sort_unstable();
    ends.sort_unstable();
    let crowded = |op: &Op| {
        let begun = begins.partition_point(|at| *at <= op.returned_ns);
        let over = ends.partition_point(|at| *at < op.invoked_ns);
        matches!(op.act, Act::Read { .. }) && begun - over > crowd
    };
    let ops: Vec<Op> = history.ops.iter().filter(|op| !crowded(op)).copied().collect();
    let left_out = history.ops.len() - ops.len();
    (ItemHistory { ops, ..history.clone() }, left_out)
}

/// Checks every item of a file.
pub fn check_file(file: &File, limits: Limits) -> Checked {
    let mut checked = check(&file.calls, file.contract, &file.moved, limits);
    let sold = |call: &Call| matches!(call.request, Request::Reserve { .. }) && call.outcome.is_ok();
    if checked.items > 0 && !file.calls.iter().any(sold) {
        let why = "no reservation succeeded, so nothing was sold that could have been sold twice";
        checked.undecided.push(why.to_owned());
    }
    if !file.complete {
        // What is missing could explain what is there, but not excuse what is refuted.
        checked.undecided.push("the history has no end: the run was cut short".to_owned());
    }
    if !checked.undecided.is_empty() {
        checked.verdict = checked.verdict.max(Verdict::Undecided);
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{ASIDE, read};

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
        read(lines.join("\n").as_bytes()).map(|file| check_file(&file, Limits::default()).verdict)
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
        let another = aside(ITEM).replace(r#""id":1,"#, r#""id":4,"#).replace(r#"{"id":"i"}"#, r#"{"id":"j"}"#);
        assert_eq!(verdict(&[RUN, ITEM, &first, &aside(&second), &another, end]), Ok(Verdict::Held));
    }

    #[test]
    fn a_file_cut_short_is_told_by_its_line() {
        assert!(verdict(&[RUN, &ITEM[..40]]).is_err_and(|error| error.starts_with("line 2 ")));
        assert!(verdict(&[ITEM]).is_err());
        assert!(verdict(&[]).is_err());
    }
}
