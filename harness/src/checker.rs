//! Decides whether a history can be explained. Three layers, and the worst verdict wins: the sweep refutes with a proof
//! that a person can read, the search looks for an order that explains every answer, the replay compares with the
//! service's ledger where there is one.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{
    history::Call,
    model::{Act, Contract, ItemHistory, Moved, Op, by_item},
    verdict::{Verdict, Violation},
};

pub mod replay;
pub mod search;
pub mod sweep;

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
    let histories = by_item(calls, contract, moved);
    let deadline = Instant::now() + limits.time;
    let mut checked = Checked {
        verdict: if histories.is_empty() { Verdict::Undecided } else { Verdict::Held },
        violations: Vec::new(),
        undecided: Vec::new(),
        loosely: 0,
        items: histories.len(),
        operations: histories.iter().map(|history| history.ops.len()).sum(),
    };
    if histories.is_empty() {
        checked.undecided.push("the history creates no item, so there is nothing to check".to_owned());
    }
    for history in &histories {
        match check_item(history, deadline.min(Instant::now() + limits.item_time), limits.states) {
            Decision::Explained => {}
            Decision::ExplainedBut(reads) => checked.loosely += reads,
            Decision::Refuted(violation) => {
                checked.verdict = checked.verdict.max(Verdict::Broken);
                checked.violations.push(violation);
            }
            Decision::Undecided(why) => {
                checked.verdict = checked.verdict.max(Verdict::Undecided);
                checked.undecided.push(format!("item {}: {why}", history.item));
            }
        }
    }
    checked
}

/// What one item's check concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Some order explains every answer.
    Explained,
    /// Some order explains every answer but those of so many reads, which were only compared with what can have been.
    ExplainedBut(usize),
    /// No order does.
    Refuted(Violation),
    /// Neither was shown within the limits.
    Undecided(String),
}

impl PartialEq for Violation {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what && self.calls == other.calls
    }
}

impl Eq for Violation {}

/// Reads with many effects under way beside them are the search's worst case, and prove least: where no order is found
/// soon, those in a crowd larger than this are left out, then those in a smaller one.
const CROWDS: [usize; 3] = [24, 6, 0];

/// Checks one item: refutes if a glance can, searches otherwise. Reads that are left out have been compared by the sweep
/// with what was certainly and what was possibly taken; what cannot be explained without them cannot be explained with
/// them.
pub fn check_item(history: &ItemHistory, deadline: Instant, states: usize) -> Decision {
    if let Some(violation) = sweep::refute(history) {
        return Decision::Refuted(violation);
    }
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
    let effect = |op: &&Op| matches!(op.act, Act::Reserve { .. } | Act::Confirm { .. } | Act::Cancel { .. });
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
