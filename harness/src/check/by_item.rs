//! Makes one item's operations of the calls that concern it, with the deadlines that pass meanwhile.

use std::collections::{BTreeSet, HashMap};

use crate::{
    check::model::{Act, ItemHistory, ModelHold, Op, States},
    history::{Answer, Call, Contract, Moved, Outcome, Reason, Request, Status},
};

/// Sorts calls by item. Items whose creation is not in the history are left out: their total is not known.
pub fn by_item<'c>(calls: impl IntoIterator<Item = &'c Call>, contract: Contract, moved: &Moved) -> Vec<ItemHistory> {
    let mut totals: HashMap<&str, i64> = HashMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut sorted: HashMap<&str, Vec<&Call>> = HashMap::new();
    let mut sweeps: Vec<&Call> = Vec::new();
    for call in calls {
        if let Request::Expire = call.request {
            sweeps.push(call);
        }
        let Some(item) = call.about() else { continue };
        if let (Request::CreateItem { total, .. }, true) = (&call.request, call.outcome.is_ok())
            && !totals.contains_key(item)
        {
            totals.insert(item, *total);
            order.push(item);
        }
        sorted.entry(item).or_default().push(call);
    }
    order
        .into_iter()
        .filter_map(|item| {
            let calls = sorted.remove(item)?;
            Some(Builder::new(item, *totals.get(item)?, contract, moved).build(&calls, &sweeps))
        })
        .collect()
}

/// Makes operations of calls.
struct Builder<'m> {
    history: ItemHistory,
    moved: &'m Moved,
    by_id: HashMap<String, usize>,
    by_key: HashMap<String, usize>,
    /// How long each hold lives, as often as an answer or its request says so.
    lives: Vec<Vec<u64>>,
    /// Whether late confirms are offered: then one that is refused says that the units were not free.
    takes_anew: bool,
    end_ns: u64,
}

impl<'m> Builder<'m> {
    fn new(item: &str, total: i64, contract: Contract, moved: &'m Moved) -> Self {
        let history = ItemHistory {
            item: item.to_owned(),
            total,
            contract,
            holds: Vec::new(),
            ops: Vec::new(),
            kept: Vec::new(),
            end_ns: 0,
        };
        Builder {
            history,
            moved,
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            lives: Vec::new(),
            takes_anew: false,
            end_ns: 0,
        }
    }

    fn build(mut self, calls: &[&Call], sweeps: &[&Call]) -> ItemHistory {
        let ends = calls.iter().chain(sweeps).map(|call| call.returned_ns.unwrap_or(call.invoked_ns));
        self.end_ns = ends.max().unwrap_or(0);
        self.history.end_ns = self.end_ns;
        // The call that was told an id must be known before what is said about it.
        calls.iter().for_each(|call| self.reservation(call));
        self.lapses();
        self.passed(calls);
        self.alive(calls);
        self.takes_anew = self.late_is_offered(calls);
        calls.iter().for_each(|call| self.rest(call));
        self.deadlines(calls, sweeps);
        self.history.kept = self.kept();
        self.history.ops.sort_by_key(|op| (op.invoked_ns, op.returned_ns));
        self.history
    }

    fn push(&mut self, call: &Call, must: bool, act: Act) {
        let returned_ns = if must { call.returned_ns.unwrap_or(u64::MAX) } else { u64::MAX };
        self.history.ops.push(Op {
            call: Some(call.id),
            invoked_ns: call.invoked_ns,
            returned_ns,
            must,
            repeats: must,
            act,
        });
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
            Outcome::Ok(_) if *quantity < 1 => return,
            _ => {}
        }
        let known = key.as_ref().and_then(|key| self.by_key.get(key)).copied();
        // One key that was answered with two ids made two holds.
        let known = known.filter(|hold| match (&self.history.holds[*hold].id, &id) {
            (Some(known), Some(id)) => known == id,
            _ => true,
        });
        let hold = known.unwrap_or_else(|| {
            self.history.holds.push(ModelHold {
                id: None,
                quantity: *quantity,
                keyed: key.is_some(),
                made_ns: u64::MAX,
                made_by_ns: u64::MAX,
                lapses: None,
                alive_ns: 0,
                passed_ns: u64::MAX,
            });
            self.lives.push(Vec::new());
            self.history.holds.len() - 1
        });
        if let Some(key) = key {
            self.by_key.insert(key.clone(), hold);
        }
        let asked = ttl_ms.filter(|_| self.history.contract.ttl_is_honoured);
        let ttl_ns = asked.or_else(|| view.and_then(|view| view.ttl_ms)).map(|ttl_ms| ttl_ms.saturating_mul(1_000_000));
        let made = &mut self.history.holds[hold];
        made.made_ns = made.made_ns.min(call.invoked_ns);
        let life = &mut self.lives[hold];
        life.extend(ttl_ns);
        if let (true, Some(returned_ns)) = (call.outcome.is_ok(), call.returned_ns) {
            made.made_by_ns = made.made_by_ns.min(returned_ns);
        }
        if let Some(id) = id {
            self.by_id.insert(id.clone(), hold);
            made.id = Some(id);
        }
        self.push(call, call.outcome.is_ok(), Act::Reserve { hold });
    }

    /// Late confirms are offered where one was honoured: sent after its hold's deadline, and not as the repeat of a confirm
    /// that may have come in time. One that came in time is what every service answers.
    fn late_is_offered(&self, calls: &[&Call]) -> bool {
        let held_by = |call: &Call| call.request.reservation().and_then(|id| self.by_id.get(id)).copied();
        let confirms = |call: &&&Call| matches!(call.request, Request::Confirm { .. } | Request::ConfirmLate { .. });
        let honoured = |call: &Call| {
            let Some(hold) = held_by(call).filter(|hold| self.history.latest(*hold).is_some()) else { return false };
            let in_time = |other: &&Call| {
                held_by(other) == Some(hold)
                    && !matches!(other.outcome, Outcome::Refused(_))
                    && self.history.in_time(hold, other.invoked_ns)
            };
            !calls.iter().filter(confirms).any(in_time)
        };
        let late = |call: &&&Call| matches!(call.request, Request::ConfirmLate { .. }) && call.outcome.is_ok();
        calls.iter().filter(late).any(|call| honoured(call))
    }

    /// A hold lives from the moment it was made: a repeat under its key finds it, and prolongs nothing.
    fn lapses(&mut self) {
        for (made, lives) in self.history.holds.iter_mut().zip(&self.lives) {
            let moved = made.id.as_ref().and_then(|id| self.moved.get(id)).copied();
            let life = lives.iter().min().zip(lives.iter().max());
            let window = |(shortest, longest): (&u64, &u64)| {
                (made.made_ns.saturating_add(*shortest), made.made_by_ns.saturating_add(*longest))
            };
            made.lapses = moved.or(life.map(window));
        }
    }

    /// A deadline is one instant, however wide the window in which the history places it: it had passed when an answer said
    /// so.
    fn passed(&mut self, calls: &[&Call]) {
        let exact_reasons = self.history.contract.exact_reasons;
        for call in calls {
            let view = call.outcome.reservation();
            let (named, says) = match call.request {
                Request::Reserve { .. } => (view.and_then(|view| view.id.as_deref()), true),
                Request::GetReservation { .. } => (call.request.reservation(), true),
                _ => (call.request.reservation(), false),
            };
            let Some(hold) = named.and_then(|id| self.by_id.get(id)).copied() else { continue };
            let shown = says && view.is_some_and(|view| view.status == Some(Status::Expired));
            if shown || exact_reasons && call.outcome.is_refused_for(Reason::ReservationExpired) {
                let passed_ns = &mut self.history.holds[hold].passed_ns;
                *passed_ns = call.returned_ns.map_or(*passed_ns, |at| at.min(*passed_ns));
            }
        }
    }

    /// It had not when a call was sent that met it, so what shows the hold lapsed was answered after that.
    fn alive(&mut self, calls: &[&Call]) {
        let Contract { repeated_confirm_is_ok, repeated_cancel_is_ok, exact_reasons, .. } = self.history.contract;
        let mut ends: HashMap<usize, (Vec<&Call>, Vec<&Call>)> = HashMap::new();
        for call in calls.iter().filter(|call| !matches!(call.outcome, Outcome::Refused(_))) {
            let Some(hold) = call.request.reservation().and_then(|id| self.by_id.get(id)) else { continue };
            let (confirms, cancels) = ends.entry(*hold).or_default();
            match call.request {
                Request::Confirm { .. } | Request::ConfirmLate { .. } => confirms.push(call),
                Request::Cancel { .. } => cancels.push(call),
                _ => {}
            }
        }
        // One of them met the deadline, and the others repeat it; a late confirm need not have met it.
        let met = |ends: &[&Call], repeat_is_ok: bool| {
            let late = ends.iter().any(|call| matches!(call.request, Request::ConfirmLate { .. }));
            let done = ends.iter().filter(|call| call.outcome.is_ok()).map(|call| call.invoked_ns);
            let any = ends.iter().map(|call| call.invoked_ns);
            let latest = done.max().filter(|_| !late)?;
            if repeat_is_ok { any.min() } else { Some(latest) }
        };
        for (hold, (confirms, cancels)) in ends {
            let confirmed = met(&confirms, repeated_confirm_is_ok);
            let cancelled = met(&cancels, repeated_cancel_is_ok).filter(|_| exact_reasons);
            let alive_ns = confirmed
                .max(cancelled)
                .filter(|sent_ns| self.history.latest(hold).is_none_or(|last| *sent_ns <= last));
            self.history.holds[hold].alive_ns = alive_ns.unwrap_or(0);
        }
    }

    fn rest(&mut self, call: &Call) {
        if let (Request::GetItem { .. }, Some(view)) = (&call.request, call.outcome.item()) {
            let (available, held, confirmed) = (view.available, view.held, view.confirmed);
            self.push(call, true, Act::Read { available, held, confirmed });
            return;
        }
        let view = call.outcome.reservation();
        let made = view.and_then(|view| view.id.as_deref()).filter(|_| matches!(call.request, Request::Reserve { .. }));
        let Some(hold) = made.or(call.request.reservation()).and_then(|id| self.by_id.get(id)).copied() else { return };
        let done = match call.request {
            Request::Confirm { .. } => Some(Act::Confirm { hold, met: self.history.in_time(hold, call.invoked_ns) }),
            Request::ConfirmLate { .. } => Some(Act::ConfirmLate { hold }),
            Request::Cancel { .. } => Some(Act::Cancel { hold, met: self.history.in_time(hold, call.invoked_ns) }),
            _ => None,
        };
        let deadline_is_known = self.history.holds[hold].lapses.is_some();
        let exact_reasons = self.history.contract.exact_reasons;
        match (&call.outcome, done) {
            (Outcome::Ok(_), Some(done)) => self.push(call, true, done),
            // What was sent after the deadline can only have been refused.
            (Outcome::Unknown(_), Some(Act::Confirm { met: false, .. })) if deadline_is_known => {}
            (Outcome::Unknown(_), Some(Act::Cancel { met: false, .. })) if deadline_is_known && exact_reasons => {}
            (Outcome::Unknown(_), Some(done)) => self.push(call, false, done),
            (Outcome::Ok(_), None) => {
                // A reservation that is made again under its key may be answered as it was the first time; that it has
                // ended cannot be told before it has.
                let status = view.and_then(|view| view.status);
                if let Some(status) = status.filter(|status| made.is_none() || *status != Status::Pending) {
                    let allowed = self.shown(hold, call, status);
                    self.push(call, true, Act::Observe { hold, allowed });
                }
            }
            (Outcome::Refused(reason), _) => {
                if let Some(act) = self.refused(hold, call, *reason) {
                    self.push(call, true, act);
                }
            }
            (Outcome::Unknown(_), None) => {}
        }
    }

    /// Whether a hold that still counts may already be called expired: where a sweep must record it first.
    fn overdue(&self, hold: usize, call: &Call) -> bool {
        let earliest = self.history.earliest(hold);
        !self.history.contract.lapse_frees_at_once && call.returned_ns.unwrap_or(u64::MAX) >= earliest
    }

    fn shown(&self, hold: usize, call: &Call, status: Status) -> States {
        let Contract { lapse_frees_at_once, exact_reasons, .. } = self.history.contract;
        match status {
            Status::Pending if !lapse_frees_at_once || !exact_reasons => States::HELD.or(States::LAPSED),
            Status::Pending => States::HELD,
            Status::Confirmed => States::CONFIRMED,
            // Some services keep one word for holds that were given back and holds that lapsed.
            Status::Cancelled if !exact_reasons => States::CANCELLED.or(States::LAPSED),
            Status::Cancelled => States::CANCELLED,
            Status::Expired if self.overdue(hold, call) => States::LAPSED.or(States::HELD),
            Status::Expired => States::LAPSED,
        }
    }

    fn refused(&self, hold: usize, call: &Call, reason: Reason) -> Option<Act> {
        let late = if self.overdue(hold, call) { States::LAPSED.or(States::HELD) } else { States::LAPSED };
        let Contract { exact_reasons, repeated_confirm_is_ok, repeated_cancel_is_ok, .. } = self.history.contract;
        let confirm = matches!(call.request, Request::Confirm { .. } | Request::ConfirmLate { .. });
        let cancel = matches!(call.request, Request::Cancel { .. });
        let anew = matches!(call.request, Request::ConfirmLate { .. }) && self.takes_anew;
        let exact = match reason {
            // Its units were not free; where one was honoured, that is the only reason to refuse another.
            Reason::InsufficientAvailability if anew => return Some(Act::TooLate { hold, or: States::NONE }),
            Reason::ReservationExpired => late,
            Reason::ReservationConfirmed => States::CONFIRMED,
            Reason::ReservationCancelled => States::CANCELLED,
            Reason::NotPending => States::OVER.or(late),
            // Some services forget a hold that has ended.
            Reason::NotFound if !exact_reasons => {
                return Some(Act::Observe { hold, allowed: States::ABSENT.or(States::OVER).or(late) });
            }
            Reason::NotFound => return Some(Act::Observe { hold, allowed: States::ABSENT }),
            // Nothing of the hold's state can be learned from these.
            Reason::InsufficientAvailability
            | Reason::Invalid
            | Reason::Unauthorized
            | Reason::Contention
            | Reason::Unreachable => return None,
        };
        let allowed = if exact_reasons { exact } else { States::OVER.or(late) };
        // Where a repeat succeeds, it is not refused, in whatever words. A service without exact reasons may let the repeat
        // that meets its first succeed or refuse it.
        let again = match exact_reasons {
            true if confirm && repeated_confirm_is_ok => States::CONFIRMED,
            true if cancel && repeated_cancel_is_ok => States::CANCELLED,
            _ => States::NONE,
        };
        let allowed = allowed.but(again);
        if anew && allowed.meets(States::LAPSED) {
            return Some(Act::TooLate { hold, or: allowed.but(States::LAPSED).but(States::HELD) });
        }
        Some(Act::Observe { hold, allowed })
    }

    fn deadlines(&mut self, calls: &[&Call], sweeps: &[&Call]) {
        for hold in 0..self.history.holds.len() {
            let first = self.history.earliest(hold);
            if first > self.end_ns {
                continue;
            }
            let act = Act::Lapse { hold };
            // A deadline that is not shown may be any.
            let Some(last) = self.history.latest(hold) else {
                self.history.ops.push(Op {
                    call: None,
                    invoked_ns: first,
                    returned_ns: u64::MAX,
                    must: false,
                    repeats: true,
                    act,
                });
                continue;
            };
            let certain = if self.history.contract.lapse_frees_at_once {
                Some(last).filter(|last| *last <= self.end_ns)
            } else {
                self.swept_by(last, calls, sweeps)
            };
            // What was sent before the deadline may be decided in time and committed late: the lapse waits for it.
            let met = |op: &&Op| match op.act {
                Act::Confirm { hold: of, met } | Act::Cancel { hold: of, met } => of == hold && met,
                _ => false,
            };
            let pending = self.history.ops.iter().filter(met).map(|op| op.returned_ns).max().unwrap_or(0);
            let returned_ns = certain.map_or(u64::MAX, |by| by.max(pending));
            let must = returned_ns != u64::MAX && self.history.holds[hold].id.is_some();
            let returned_ns = if must { returned_ns } else { u64::MAX };
            self.history.ops.push(Op { call: None, invoked_ns: first, returned_ns, must, repeats: true, act });
        }
    }

    /// Confirmed by a call or shown so, and by no late confirm. By far most confirms return long before the deadline, and then
    /// nothing needs to be kept.
    fn kept(&self) -> Vec<usize> {
        let mut kept = BTreeSet::new();
        for op in &self.history.ops {
            match op.act {
                Act::Confirm { hold, met: true } if op.must && op.returned_ns >= self.history.earliest(hold) => {
                    kept.insert(hold);
                }
                Act::Observe { hold, allowed: States::CONFIRMED } if op.returned_ns >= self.history.earliest(hold) => {
                    kept.insert(hold);
                }
                _ => {}
            }
        }
        for op in &self.history.ops {
            if let Act::ConfirmLate { hold } = op.act {
                kept.remove(&hold);
            }
        }
        kept.into_iter().collect()
    }

    /// When a sweep has certainly recorded a hold that lapsed by then: the first that was sent afterwards, met no other
    /// call about the item and no other sweep, and does not say that more is waiting.
    fn swept_by(&self, lapsed_ns: u64, calls: &[&Call], sweeps: &[&Call]) -> Option<u64> {
        let lapsed = |at_ns: u64| {
            let due = |hold: &&ModelHold| hold.lapses.is_some_and(|(_, last)| last <= at_ns);
            self.history.holds.iter().filter(due).count() as u64
        };
        let whole = |sweep: &Call| match &sweep.outcome {
            Outcome::Ok(Answer::Sweep(view)) => {
                // A sweep that counts fewer than had lapsed may have met its own limit.
                let counted = view.expired.is_some_and(|count| count == 0 || count >= lapsed(sweep.invoked_ns));
                view.has_more != Some(true) && (counted || view.has_more == Some(false))
            }
            _ => false,
        };
        let meets = |sweep: &Call, other: &Call| {
            let returned = |call: &Call| call.returned_ns.unwrap_or(u64::MAX);
            sweep.id != other.id && sweep.invoked_ns <= returned(other) && other.invoked_ns <= returned(sweep)
        };
        let writes = |call: &&&Call| !matches!(call.request, Request::GetItem { .. } | Request::GetReservation { .. });
        sweeps
            .iter()
            .filter(|sweep| sweep.invoked_ns > lapsed_ns && whole(sweep))
            .filter(|sweep| !calls.iter().filter(writes).chain(sweeps).any(|other| meets(sweep, other)))
            .filter_map(|sweep| sweep.returned_ns)
            .min()
    }
}
