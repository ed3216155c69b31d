//! One hold's life: it ends once, not after its deadline, and by a call. The search would refute most of these as well;
//! here each has a sentence of its own, and the calls that show it.

use std::collections::HashMap;

use crate::{
    check::{
        model::{ItemHistory, ModelHold},
        verdict::{Breach, Layer, Violation},
    },
    history::{Call, Outcome, Reason, Request, Status},
};

/// What is wrong with the lives of an item's holds. The calls may be those of every item.
pub fn refute(history: &ItemHistory, calls: &[&Call]) -> Vec<Violation> {
    let mut about: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in calls {
        if let Some(id) = call.request.reservation() {
            about.entry(id).or_default().push(call);
        }
    }
    let lives = history.holds.iter().enumerate().filter_map(|(index, hold)| {
        let id = hold.id.as_deref()?;
        Some(Life { history, hold, latest: history.latest(index), id, calls: about.get(id)? })
    });
    lives.flat_map(|life| life.refute()).collect()
}

/// One hold and every call about it.
struct Life<'c> {
    history: &'c ItemHistory,
    hold: &'c ModelHold,
    /// The latest that its deadline can be.
    latest: Option<u64>,
    id: &'c str,
    calls: &'c [&'c Call],
}

impl Life<'_> {
    fn refute(&self) -> Vec<Violation> {
        [self.ended_twice(), self.ended_late(), self.expired_early(), self.revived(), self.ended_by_no_call()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn violation<'a>(&self, what: String, calls: impl IntoIterator<Item = &'a &'a Call>) -> Violation {
        let mut shown: Vec<&Call> = calls.into_iter().copied().collect();
        shown.sort_by_key(|call| call.id);
        let at = shown.iter().filter_map(|call| call.returned_ns).max().unwrap_or_default();
        Violation::new(Layer::Lifecycle, Breach::AnsweredWhatIsForbidden, format!("reservation {} {what}", self.id))
            .at(at)
            .shown_by(shown.iter().map(|call| call.id))
    }

    fn done(&self, wanted: impl Fn(&Request) -> bool) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.outcome.is_ok() && wanted(&call.request)).copied().collect()
    }

    fn ended_twice(&self) -> Option<Violation> {
        let confirmed = self.done(is_confirm);
        let cancelled = self.done(is_cancel);
        let (confirm, cancel) = (confirmed.first()?, cancelled.first()?);
        let what = "was confirmed for one caller and cancelled for another".to_owned();
        Some(self.violation(what, [confirm, cancel]))
    }

    /// A success long after the deadline, unless it repeats one that may have come in time.
    fn ended_late(&self) -> Option<Violation> {
        let last = self.latest?;
        let contract = self.history.contract;
        let late = |call: &&&Call| match call.request {
            Request::Confirm { .. } => call.outcome.is_ok(),
            Request::Cancel { .. } => call.outcome.is_ok() && contract.exact_reasons,
            _ => false,
        };
        let repeats = |call: &Call| {
            let ok = if is_confirm(&call.request) {
                contract.repeated_confirm_is_ok
            } else {
                contract.repeated_cancel_is_ok
            };
            ok && self.calls.iter().any(|other| {
                let same = is_confirm(&other.request) == is_confirm(&call.request) && ends(&other.request);
                let anew = matches!(other.request, Request::ConfirmLate { .. });
                let in_time = other.invoked_ns <= last || anew && Some(other.invoked_ns) <= call.returned_ns;
                same && in_time && other.id != call.id && !matches!(other.outcome, Outcome::Refused(_))
            })
        };
        let call = self.calls.iter().filter(late).find(|call| call.invoked_ns > last && !repeats(call))?;
        let late_ms = (call.invoked_ns - last) / 1_000_000;
        let verb = if is_confirm(&call.request) { "confirmed" } else { "cancelled" };
        let what = format!("was {verb} although its deadline had passed {late_ms} ms before the call");
        Some(self.violation(what, [call]))
    }

    fn expired_early(&self) -> Option<Violation> {
        let (first, _) = self.hold.lapses?;
        let contract = self.history.contract;
        let first = first.saturating_sub(contract.rounding_ns);
        let says = |call: &&&Call| {
            let refused = call.outcome.is_refused_for(Reason::ReservationExpired) && contract.exact_reasons;
            refused || self.shows(call) == Some(Status::Expired)
        };
        let call = self.calls.iter().filter(says).find(|call| call.returned_ns.is_some_and(|at| at < first))?;
        let early_ms = (first - call.returned_ns?) / 1_000_000;
        Some(self.violation(format!("was called expired {early_ms} ms before its deadline"), [call]))
    }

    /// Expired in one read and pending in a later one. A service may record lapses late or reckon them when it is asked, so
    /// either read alone is right between a deadline and its sweep.
    fn revived(&self) -> Option<Violation> {
        let showing = |status| move |call: &&&Call| self.shows(call) == Some(status);
        let expired = self
            .calls
            .iter()
            .filter(showing(Status::Expired))
            .min_by_key(|call| call.returned_ns.unwrap_or(u64::MAX))?;
        let pending = self.calls.iter().filter(showing(Status::Pending)).max_by_key(|call| call.invoked_ns)?;
        let revived = expired.returned_ns.is_some_and(|at| at < pending.invoked_ns);
        revived.then(|| self.violation("was shown expired, and later pending".to_owned(), [expired, pending]))
    }

    fn ended_by_no_call(&self) -> Option<Violation> {
        let exact = self.history.contract.exact_reasons;
        self.calls.iter().find_map(|call| {
            let says = |reason| call.outcome.is_refused_for(reason) && exact;
            let shows = self.shows(call);
            let (word, end): (_, fn(&Request) -> bool) =
                if shows == Some(Status::Confirmed) || says(Reason::ReservationConfirmed) {
                    ("confirmed", is_confirm)
                } else if exact && shows == Some(Status::Cancelled) || says(Reason::ReservationCancelled) {
                    ("cancelled", is_cancel)
                } else {
                    return None;
                };
            let returned_ns = call.returned_ns.unwrap_or(u64::MAX);
            let asked = |other: &&Call| end(&other.request) && other.invoked_ns <= returned_ns;
            let by_none = !self.calls.iter().any(asked);
            by_none.then(|| self.violation(format!("was called {word}, and no call had asked for that"), [call]))
        })
    }

    fn shows(&self, call: &Call) -> Option<Status> {
        let reads = matches!(call.request, Request::GetReservation { .. });
        call.outcome.reservation().filter(|_| reads)?.status
    }
}

fn is_confirm(request: &Request) -> bool {
    matches!(request, Request::Confirm { .. } | Request::ConfirmLate { .. })
}

fn is_cancel(request: &Request) -> bool {
    matches!(request, Request::Cancel { .. })
}

fn ends(request: &Request) -> bool {
    is_confirm(request) || is_cancel(request)
}
