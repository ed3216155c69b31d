//! Makes one item's operations of the calls that concern it, with the deadlines that pass meanwhile.

use std::collections::HashMap;

use crate::{
    check::model::{Act, ItemHistory, ModelHold, Op, States},
    history::{Call, Contract, Moved, Outcome, Reason, Request, Status},
};

/// Sorts calls by item. Items whose creation is not in the history are left out: nobody knows their total.
pub fn by_item<'c>(calls: impl IntoIterator<Item = &'c Call>, contract: Contract, moved: &Moved) -> Vec<ItemHistory> {
    let mut totals: HashMap<&str, i64> = HashMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut sorted: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in calls {
        let Some(item) = call.about() else { continue };
        if let (Request::CreateItem { total, .. }, true) = (&call.request, call.outcome.is_ok()) {
            totals.insert(item, *total);
            order.push(item);
        }
        sorted.entry(item).or_default().push(call);
    }
    order
        .into_iter()
        .filter_map(|item| {
            let calls = sorted.remove(item)?;
            Some(Builder::new(item, *totals.get(item)?, contract, moved).build(&calls))
        })
        .collect()
}

/// Makes operations of calls.
struct Builder<'m> {
    history: ItemHistory,
    moved: &'m Moved,
    by_id: HashMap<String, usize>,
    by_key: HashMap<String, usize>,
    /// Each hold's deadline: not before, not after.
    lapses: Vec<Option<(u64, u64)>>,
    end_ns: u64,
}

impl<'m> Builder<'m> {
    fn new(item: &str, total: i64, contract: Contract, moved: &'m Moved) -> Self {
        let history = ItemHistory { item: item.to_owned(), total, contract, holds: Vec::new(), ops: Vec::new() };
        Builder { history, moved, by_id: HashMap::new(), by_key: HashMap::new(), lapses: Vec::new(), end_ns: 0 }
    }

    fn build(mut self, calls: &[&Call]) -> ItemHistory {
        self.end_ns = calls.iter().map(|call| call.returned_ns.unwrap_or(call.invoked_ns)).max().unwrap_or(0);
        // Who was told an id must be known before what is said about it.
        calls.iter().for_each(|call| self.reservation(call));
        calls.iter().for_each(|call| self.rest(call));
        self.deadlines();
        self.overdue_reads();
        self.history.ops.sort_by_key(|op| (op.invoked_ns, op.returned_ns));
        self.history
    }

    fn push(&mut self, call: &Call, must: bool, act: Act) {
        let returned_ns = if must { call.returned_ns.unwrap_or(u64::MAX) } else { u64::MAX };
        self.history.ops.push(Op { call: Some(call.id), invoked_ns: call.invoked_ns, returned_ns, must, act });
    }

    fn reservation(&mut self, call: &Call) {
        let Request::Reserve { quantity, ttl_ms, key, .. } = &call.request else { return };
        let view = call.outcome.reservation();
        let id = view.and_then(|view| view.id.clone());
        match &call.outcome {
            // Less than one unit can be refused in any words.
            Outcome::Refused(Reason::InsufficientAvailability) if *quantity >= 1 => {
                self.push(call, true, Act::TooFew { quantity: *quantity });
                return;
            }
            Outcome::Refused(_) => return,
            // What no item can give cannot have happened, whatever the answer was lost to.
            Outcome::Unknown(_) if !(1..=self.history.total).contains(quantity) => return,
            _ => {}
        }
        let known = key.as_ref().and_then(|key| self.by_key.get(key)).copied();
        let hold = known.unwrap_or_else(|| {
            self.history.holds.push(ModelHold { id: None, quantity: *quantity, keyed: key.is_some() });
            self.lapses.push(None);
            self.history.holds.len() - 1
        });
        if let Some(key) = key {
            self.by_key.insert(key.clone(), hold);
        }
        let asked = ttl_ms.filter(|_| self.history.contract.ttl_is_honoured);
        let ttl_ns = asked.or_else(|| view.and_then(|view| view.ttl_ms)).map(|ttl_ms| ttl_ms.saturating_mul(1_000_000));
        let window = ttl_ns.map(|ttl_ns| {
            (call.invoked_ns.saturating_add(ttl_ns), call.returned_ns.unwrap_or(u64::MAX).saturating_add(ttl_ns))
        });
        // A repeat under a key finds the first one's deadline, whichever came first.
        self.lapses[hold] = match (self.lapses[hold], window) {
            (Some(known), Some(window)) => Some((known.0.min(window.0), known.1.max(window.1))),
            (known, window) => known.or(window),
        };
        if let Some(id) = id {
            if let Some(moved) = self.moved.get(&id) {
                self.lapses[hold] = Some(*moved);
            }
            self.by_id.insert(id.clone(), hold);
            self.history.holds[hold].id = Some(id);
        }
        self.push(call, call.outcome.is_ok(), Act::Reserve { hold });
    }

    fn rest(&mut self, call: &Call) {
        if let (Request::GetItem { .. }, Some(view)) = (&call.request, call.outcome.item()) {
            let (available, held, confirmed) = (view.available, view.held, view.confirmed);
            self.push(call, true, Act::Read { available, held, confirmed, overdue: 0 });
            return;
        }
        let Some(hold) = call.request.reservation().and_then(|id| self.by_id.get(id)).copied() else { return };
        let done = match call.request {
            Request::Confirm { .. } => Act::Confirm { hold },
            Request::Cancel { .. } => Act::Cancel { hold },
            _ => {
                if let Some(status) = call.outcome.reservation().and_then(|view| view.status) {
                    let allowed = self.shown(hold, call, status);
                    self.push(call, true, Act::Observe { hold, allowed });
                }
                return;
            }
        };
        match &call.outcome {
            Outcome::Ok(_) => self.push(call, true, done),
            Outcome::Unknown(_) => self.push(call, false, done),
            Outcome::Refused(reason) => {
                if let Some(allowed) = self.refused(hold, call, *reason) {
                    self.push(call, true, Act::Observe { hold, allowed });
                }
            }
        }
    }

    /// Whether a hold that still counts may already be called expired: where a sweep must record it first.
    fn overdue(&self, hold: usize, call: &Call) -> bool {
        let earliest =
            self.lapses[hold].map_or(u64::MAX, |(first, _)| first.saturating_sub(self.history.contract.rounding_ns));
        !self.history.contract.lapse_frees_at_once && call.returned_ns.unwrap_or(u64::MAX) >= earliest
    }

    fn shown(&self, hold: usize, call: &Call, status: Status) -> States {
        let lapses_later = !self.history.contract.lapse_frees_at_once;
        match status {
            Status::Pending if lapses_later => States::HELD.or(States::LAPSED),
            Status::Pending => States::HELD,
            Status::Confirmed => States::CONFIRMED,
            Status::Cancelled => States::CANCELLED,
            Status::Expired if self.overdue(hold, call) => States::LAPSED.or(States::HELD),
            Status::Expired => States::LAPSED,
        }
    }

    fn refused(&self, hold: usize, call: &Call, reason: Reason) -> Option<States> {
        let late = if self.overdue(hold, call) { States::LAPSED.or(States::HELD) } else { States::LAPSED };
        let Contract { exact_reasons, repeated_confirm_is_ok, repeated_cancel_is_ok, .. } = self.history.contract;
        let confirm = matches!(call.request, Request::Confirm { .. });
        let exact = match reason {
            Reason::ReservationExpired => late,
            Reason::ReservationConfirmed if confirm && repeated_confirm_is_ok => States::NONE,
            Reason::ReservationCancelled if !confirm && repeated_cancel_is_ok => States::NONE,
            Reason::ReservationConfirmed => States::CONFIRMED,
            Reason::ReservationCancelled => States::CANCELLED,
            Reason::NotPending => States::OVER.or(late),
            // Nothing of the hold's state can be learned from these.
            Reason::InsufficientAvailability
            | Reason::NotFound
            | Reason::Invalid
            | Reason::Unauthorized
            | Reason::Contention
            | Reason::Unreachable => return None,
        };
        Some(if exact_reasons { exact } else { States::OVER.or(late) })
    }

    fn deadlines(&mut self) {
        let Contract { lapse_frees_at_once, rounding_ns, .. } = self.history.contract;
        for (hold, lapse) in self.lapses.iter().enumerate() {
            let Some((first, last)) =
                lapse.map(|(first, last)| (first.saturating_sub(rounding_ns), last.saturating_add(rounding_ns)))
            else {
                continue;
            };
            if first > self.end_ns {
                continue;
            }
            let must = lapse_frees_at_once && last <= self.end_ns && self.history.holds[hold].id.is_some();
            let returned_ns = if must { last } else { u64::MAX };
            let act = Act::Lapse { hold };
            self.history.ops.push(Op { call: None, invoked_ns: first, returned_ns, must, act });
        }
    }

    /// A confirm or cancel may be decided before the deadline and committed after it. What is seen between the two may
    /// show the hold as lapsed, and the deadline itself has to wait for the outcome.
    fn overdue_reads(&mut self) {
        let rounding_ns = self.history.contract.rounding_ns;
        // Hold, from its deadline, to the call's return, units that a confirm keeps.
        let mut pending: Vec<(usize, u64, u64, i64)> = Vec::new();
        for op in &self.history.ops {
            let (hold, keeps) = match op.act {
                Act::Confirm { hold } => (hold, self.history.holds[hold].quantity),
                Act::Cancel { hold } => (hold, 0),
                _ => continue,
            };
            let Some((first, last)) = self.lapses[hold] else { continue };
            if first.saturating_sub(rounding_ns) <= op.returned_ns && op.invoked_ns <= last.saturating_add(rounding_ns)
            {
                pending.push((hold, op.invoked_ns.max(first.saturating_sub(rounding_ns)), op.returned_ns, keeps));
            }
        }
        if pending.is_empty() {
            return;
        }
        for op in &mut self.history.ops {
            let (from_ns, to_ns) = (op.invoked_ns, op.returned_ns);
            let meets = |(_, from, to, _): &&(usize, u64, u64, i64)| *from <= to_ns && *to >= from_ns;
            match &mut op.act {
                Act::Read { overdue, .. } => *overdue = pending.iter().filter(meets).map(|(.., keeps)| keeps).sum(),
                Act::Observe { hold, allowed }
                    if allowed.meets(States::LAPSED) && pending.iter().filter(meets).any(|(of, ..)| of == hold) =>
                {
                    *allowed = allowed.or(States::HELD);
                }
                Act::Lapse { hold } if op.must => {
                    let latest = pending.iter().filter(|(of, ..)| of == hold).map(|(_, _, to_ns, _)| *to_ns).max();
                    op.returned_ns = op.returned_ns.max(latest.unwrap_or(0));
                    op.must = op.returned_ns != u64::MAX;
                }
                _ => {}
            }
        }
    }
}
