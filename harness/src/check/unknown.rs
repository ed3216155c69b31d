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
    let explains = |ops: Vec<Op>| {
        let tried = search(&ItemHistory { ops, ..history.clone() }, deadline, states);
        !matches!(tried, Decision::Refuted(_))
    };
    let stays_open = |op: &&&Op| {
        let others = || history.ops.iter().filter(|other| other.call != op.call).copied();
        // By the end of what was seen, or not at all: what happens later is seen by whoever looks then.
        let happened = Op { must: true, returned_ns: history.end_ns.max(op.invoked_ns), ..***op };
        explains(others().collect()) && explains(others().chain([happened]).collect())
    };
    open.iter().filter(stays_open).filter_map(|op| op.call).collect()
}

/// Whether a later answer tells what became of it: the same call under its key, or how its hold ended.
fn told_later(history: &ItemHistory, op: &Op, calls: &[&Call]) -> bool {
    let Some(call) = calls.iter().find(|call| Some(call.id) == op.call) else { return false };
    if let Request::Reserve { key: Some(key), .. } = &call.request {
        let same =
            |other: &&Call| other.request.key() == Some(key.as_str()) && !matches!(other.outcome, Outcome::Unknown(_));
        return calls.iter().copied().any(|other| same(&other) && other.invoked_ns >= call.invoked_ns);
    }
    let Some(hold) = op.act.changes() else { return false };
    history.ops.iter().any(|other| match other.act {
        Act::Confirm { hold: of, .. } | Act::ConfirmLate { hold: of } | Act::Cancel { hold: of, .. } => {
            of == hold && other.must
        }
        Act::Observe { hold: of, allowed } => {
            of == hold && !allowed.meets(States::HELD) && !allowed.meets(States::ABSENT)
        }
        _ => false,
    })
}
