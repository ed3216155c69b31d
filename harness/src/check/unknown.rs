//! Calls without a clear answer: what the rest of the history says about them. A call is settled where only one of the
//! two, that it happened and that it did not, leaves an order that explains every answer.

use std::time::Instant;

use crate::{
    check::{
        model::{Act, ItemHistory, Op, States},
        search::search,
        verdict::Decision,
    },
    history::{Call, Outcome, Request},
};

/// With more unknown calls than this, none is settled by trying.
const TRIED_MAX: usize = 24;

/// The unknown calls of one item of which it stays open whether they happened.
pub fn unsettled(history: &ItemHistory, calls: &[&Call], deadline: Instant, states: usize) -> Vec<u64> {
    let open: Vec<&Op> =
        history.ops.iter().filter(|op| op.call.is_some() && !op.must && !told_later(history, op, calls)).collect();
    if open.len() > TRIED_MAX {
        return open.iter().filter_map(|op| op.call).collect();
    }
    let explains = |ops: Vec<Op>, kept: Option<usize>| {
        if Instant::now() > deadline {
            return true;
        }
        let kept = history.kept.iter().copied().chain(kept).collect();
        let tried = search(&ItemHistory { ops, kept, ..history.clone() }, deadline, states);
        !matches!(tried, Decision::Refuted(_))
    };
    let stays_open = |op: &&&Op| {
        let others = history.ops.iter().filter(|other| other.call != op.call).copied();
        // By the end of what was seen, or not at all: what happens later is seen by whoever looks then.
        // One that repeats what another call did has no effect to be unknown.
        let happened = Op { must: true, repeats: false, returned_ns: history.end_ns.max(op.invoked_ns), ..***op };
        let with = history.ops.iter().map(|other| match other.act {
            _ if other.call == op.call => happened,
            // It met the deadline, which was not before it was sent.
            Act::Lapse { hold } if met(op, history) == Some(hold) => {
                Op { invoked_ns: other.invoked_ns.max(op.invoked_ns), ..*other }
            }
            _ => *other,
        });
        let mut with: Vec<Op> = with.collect();
        with.sort_by_key(|op| (op.invoked_ns, op.returned_ns));
        let late = |other: &Op| matches!(other.act, Act::ConfirmLate { hold } if Some(hold) == op.act.changes());
        let kept = match op.act {
            Act::Confirm { hold, .. } => Some(hold).filter(|_| !with.iter().any(late)),
            _ => None,
        };
        explains(others.collect(), None) && explains(with, kept)
    };
    open.iter().filter(stays_open).filter_map(|op| op.call).collect()
}

/// The hold whose deadline a call must have met to have an effect.
fn met(op: &Op, history: &ItemHistory) -> Option<usize> {
    match op.act {
        Act::Confirm { hold, .. } => Some(hold),
        Act::Cancel { hold, .. } if history.contract.exact_reasons => Some(hold),
        _ => None,
    }
}

/// Whether a later answer tells what became of it: the same call under its key, or how its hold ended.
fn told_later(history: &ItemHistory, op: &Op, calls: &[&Call]) -> bool {
    let Some(call) = calls.iter().find(|call| Some(call.id) == op.call) else { return false };
    if let Request::Reserve { key: Some(key), .. } = &call.request {
        return calls.iter().any(|other| match &other.outcome {
            _ if other.request.key() != Some(key.as_str()) => false,
            // One key makes one hold, and here it is.
            Outcome::Ok(_) => true,
            Outcome::Refused(_) => other.invoked_ns >= call.invoked_ns,
            Outcome::Unknown(_) => false,
        });
    }
    let Some(hold) = op.act.changes() else { return false };
    // A hold that has lapsed may still be confirmed late.
    let late = matches!(op.act, Act::ConfirmLate { .. });
    let open = States::HELD.or(States::ABSENT).or(if late { States::LAPSED } else { States::NONE });
    history.ops.iter().any(|other| match other.act {
        Act::Confirm { hold: of, .. } | Act::ConfirmLate { hold: of } | Act::Cancel { hold: of, .. } => {
            of == hold && other.must
        }
        Act::Observe { hold: of, allowed } => of == hold && !allowed.meets(open),
        _ => false,
    })
}
