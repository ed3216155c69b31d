//! What one answer says of itself against what was asked, and ids against the calls that made them. No order of the
//! calls matters here: each finding stands on one or two answers.

use std::collections::HashMap;

use crate::{
    check::verdict::{Breach, Layer, Violation},
    history::{Answer, Call, Contract, ItemView, Outcome, Reason, Request, ReservationView, Status, SweepView},
};

/// Every answer that contradicts its own call, and every id that contradicts another call.
pub fn refute(calls: &[&Call], contract: Contract) -> Vec<Violation> {
    let ids = Ids::of(calls);
    let mut violations = ids.doubled(calls);
    for call in calls {
        let found = match &call.outcome {
            Outcome::Ok(Answer::Item(view)) => ids.item(call, view),
            Outcome::Ok(Answer::Reservation(view)) => ids.reservation(call, view, contract),
            Outcome::Ok(Answer::Sweep(view)) => sweep(view),
            Outcome::Refused(Reason::NotFound) => ids.denied(call),
            Outcome::Refused(_) | Outcome::Unknown(_) => None,
        };
        violations.extend(found.map(|(kind, what)| {
            let what = format!("{} {what}", call.request.verb());
            Violation::new(Layer::Answers, kind, what)
                .at(call.returned_ns.unwrap_or(call.invoked_ns))
                .shown_by([call.id])
        }));
    }
    violations
}

/// What is wrong, and of which kind.
type Found = Option<(Breach, String)>;

fn forbidden(what: String) -> Found {
    Some((Breach::AnsweredWhatIsForbidden, what))
}

fn never_was(what: String) -> Found {
    Some((Breach::ShowsWhatNeverWas, what))
}

/// What calls were told about ids: items and their totals, reservations and the calls that made them.
struct Ids<'c> {
    created: HashMap<&'c str, &'c Call>,
    made: HashMap<&'c str, &'c Call>,
    /// A reservation whose answer was lost has an id that no call was told.
    lost: bool,
}

impl<'c> Ids<'c> {
    fn of(calls: &[&'c Call]) -> Self {
        let mut ids = Ids { created: HashMap::new(), made: HashMap::new(), lost: false };
        for call in calls {
            match (&call.request, &call.outcome) {
                (Request::CreateItem { .. }, Outcome::Ok(Answer::Item(view))) => {
                    if let Some(id) = view.id.as_deref().or(call.item.as_deref()) {
                        ids.created.entry(id).or_insert(call);
                    }
                }
                (Request::Reserve { .. } | Request::ReserveOdd { .. }, Outcome::Ok(Answer::Reservation(view))) => {
                    if let Some(id) = view.id.as_deref() {
                        ids.made.entry(id).or_insert(call);
                    }
                }
                (Request::Reserve { .. } | Request::ReserveOdd { .. }, Outcome::Unknown(_)) => ids.lost = true,
                _ => {}
            }
        }
        ids
    }

    /// Two things with one id, and one key that made two things.
    fn doubled(&self, calls: &[&Call]) -> Vec<Violation> {
        let mut by_id: HashMap<(&str, &str), &Call> = HashMap::new();
        let mut by_key: HashMap<(&str, &str), (&str, &Call)> = HashMap::new();
        let mut violations = Vec::new();
        let mut doubled = |what: String, first: &Call, second: &Call| {
            let found = Violation::new(Layer::Answers, Breach::AnsweredWhatIsForbidden, what);
            violations.push(found.at(second.returned_ns.unwrap_or(second.invoked_ns)).shown_by([first.id, second.id]));
        };
        for call in calls {
            let Some((thing, id)) = made(call) else { continue };
            if let Some(key) = call.request.key() {
                let (known, first) = *by_key.entry((thing, key)).or_insert((id, call));
                if known != id {
                    doubled(format!("one key made two {thing}s: {known} and {id}"), first, call);
                }
            }
            let first = *by_id.entry((thing, id)).or_insert(call);
            let repeat = first.request.key().is_some() && first.request.key() == call.request.key();
            if first.id != call.id && !repeat {
                doubled(format!("two {thing}s were answered with one id, {id}"), first, call);
            }
        }
        violations
    }

    fn total(&self, item: &str) -> Option<i64> {
        match self.created.get(item)?.request {
            Request::CreateItem { total, .. } => Some(total),
            _ => None,
        }
    }

    /// An item that was there before the call was sent.
    fn denied(&self, call: &Call) -> Found {
        let (Request::GetItem { item } | Request::Reserve { item, .. }) = &call.request else { return None };
        let created = self.created.get(item.as_str())?;
        let before = created.returned_ns.is_some_and(|at| at < call.invoked_ns);
        before.then(|| {
            (
                Breach::AnsweredWhatIsForbidden,
                format!("of {item} was answered not_found, although it was created before"),
            )
        })
    }

    fn item(&self, call: &Call, view: &ItemView) -> Found {
        for (word, shown) in
            [("total", view.total), ("available", view.available), ("held", view.held), ("confirmed", view.confirmed)]
        {
            if let Some(shown) = shown.filter(|shown| *shown < 0) {
                return never_was(format!("shows {word} {shown}"));
            }
        }
        let total = match &call.request {
            Request::CreateItem { total, .. } => {
                if *total < 0 {
                    return forbidden(format!("of {total} units was accepted"));
                }
                // A repeat under a key shows the item as it is now.
                let fresh = call.request.key().is_none();
                let expected = [(view.available, *total), (view.held, 0), (view.confirmed, 0)];
                if fresh && expected.iter().any(|(shown, expected)| shown.is_some_and(|shown| shown != *expected)) {
                    return never_was(format!(
                        "of {total} units shows {}: a new item has all of them free",
                        shown(view)
                    ));
                }
                Some(*total)
            }
            Request::GetItem { item } => {
                if let Some(id) = view.id.as_deref().filter(|id| id != item) {
                    return never_was(format!("of {item} answered {id}"));
                }
                self.total(item)
            }
            _ => None,
        };
        if let (Some(total), Some(says)) = (total, view.total)
            && total != says
        {
            return never_was(format!("of an item of {total} units answered total {says}"));
        }
        let (total, sum) = (total.or(view.total)?, view.available? + view.held? + view.confirmed?);
        if sum == total {
            return None;
        }
        never_was(format!("shows {}, which is {sum} together, of {total}", shown(view)))
    }

    fn reservation(&self, call: &Call, view: &ReservationView, contract: Contract) -> Found {
        match &call.request {
            Request::Reserve { item, quantity, key, .. } => {
                if *quantity < 1 {
                    return forbidden(format!("of {quantity} units was accepted"));
                }
                if let Some(says) = view.item.as_deref().filter(|says| says != item) {
                    return never_was(format!("of item {item} answered item {says}"));
                }
                if let Some(says) = view.quantity.filter(|says| says != quantity) {
                    return never_was(format!("of {quantity} units answered {says}"));
                }
                match view.status {
                    Some(status @ (Status::Confirmed | Status::Cancelled)) if key.is_none() => {
                        never_was(format!("answered a reservation that is {status:?} already"))
                    }
                    _ => None,
                }
            }
            Request::GetReservation { reservation } => self.about(reservation, view),
            Request::Confirm { reservation } | Request::ConfirmLate { reservation } => {
                self.about(reservation, view).or_else(|| wrong_end(view, Status::Confirmed))
            }
            Request::Cancel { reservation } => {
                // Some say of a lapsed hold that it has expired when they are asked to cancel it.
                let lapsed = view.status == Some(Status::Expired) && !contract.exact_reasons;
                self.about(reservation, view).or_else(|| wrong_end(view, Status::Cancelled).filter(|_| !lapsed))
            }
            Request::ReserveOdd { quantity, .. } => {
                let accepted = view.id.is_some() && !may_be_rounded(quantity);
                if accepted { forbidden(format!("of {quantity} units was accepted")) } else { None }
            }
            Request::CreateItem { .. } | Request::GetItem { .. } | Request::Expire => None,
        }
    }

    /// What an answer about one reservation says of it.
    fn about(&self, reservation: &str, view: &ReservationView) -> Found {
        let Some(made) = self.made.get(reservation) else {
            let unheard = || format!("of {reservation} was answered as done, an id that no call was given");
            return if self.lost { None } else { forbidden(unheard()) };
        };
        if let Some(says) = view.id.as_deref().filter(|says| *says != reservation) {
            return never_was(format!("of {reservation} answered {says}"));
        }
        let Request::Reserve { item, quantity, .. } = &made.request else { return None };
        if let Some(says) = view.item.as_deref().filter(|says| says != item) {
            return never_was(format!("of {reservation} answered item {says}; it was made of item {item}"));
        }
        if let Some(says) = view.quantity.filter(|says| says != quantity) {
            return never_was(format!("of {reservation} answered {says} units; it was made with {quantity}"));
        }
        None
    }
}

/// A service may round a number, or read it out of a text; what it then took is for the live round to see.
fn may_be_rounded(quantity: &serde_json::Value) -> bool {
    let number = quantity.as_f64().or_else(|| quantity.as_str()?.trim().parse().ok());
    number.is_some_and(|number| number >= 1.0)
}

fn made(call: &Call) -> Option<(&'static str, &str)> {
    match (&call.request, &call.outcome) {
        (Request::CreateItem { .. }, Outcome::Ok(Answer::Item(view))) => Some(("item", view.id.as_deref()?)),
        (Request::Reserve { .. } | Request::ReserveOdd { .. }, Outcome::Ok(Answer::Reservation(view))) => {
            Some(("reservation", view.id.as_deref()?))
        }
        _ => None,
    }
}

fn wrong_end(view: &ReservationView, expected: Status) -> Found {
    let says = view.status.filter(|says| *says != expected)?;
    forbidden(format!("was answered as done with a reservation that is {says:?}"))
}

fn sweep(view: &SweepView) -> Found {
    let expired = i64::try_from(view.expired?).unwrap_or(i64::MAX);
    let released = view.released?;
    // Each expired hold gives at least one unit back.
    let agrees = released >= expired && (expired > 0 || released == 0);
    if agrees {
        return None;
    }
    never_was(format!("says that {expired} holds expired and gave {released} units back"))
}

fn shown(view: &ItemView) -> String {
    [("available", view.available), ("held", view.held), ("confirmed", view.confirmed)]
        .iter()
        .filter_map(|(word, value)| value.map(|value| format!("{word} {value}")))
        .collect::<Vec<_>>()
        .join(", ")
}
