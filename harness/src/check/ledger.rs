//! The third layer, exact where a ledger gives the order: each answer is one row, each refusal none, each unknown none
//! or one, nothing stands there that nobody asked for, and the rows stand in an order that the callers can have seen.

use std::collections::HashMap;

use crate::{
    check::{
        books::{Kind, LedgerRow, Page},
        verdict::{Breach, Layer, Violation},
    },
    history::{Call, Outcome, Reason, Request},
};

/// What callers know of one reservation.
#[derive(Default)]
struct Told<'c> {
    reserve: Vec<&'c Call>,
    confirm: Vec<&'c Call>,
    cancel: Vec<&'c Call>,
}

/// Compares one item's ledger with the calls about it.
pub fn replay<'c>(page: &Page, calls: impl IntoIterator<Item = &'c Call>) -> Vec<Violation> {
    let calls: Vec<&Call> = calls.into_iter().collect();
    let made = |call: &'c Call| call.outcome.reservation().and_then(|view| view.id.as_deref());
    // A repeat under the same key is told the id that a call without an answer made.
    let by_key: HashMap<&str, &str> =
        calls.iter().filter_map(|call| Some((call.request.key()?, made(call)?))).collect();
    let mut told: HashMap<&str, Told<'_>> = HashMap::new();
    let mut unknown_reserves: Vec<(i64, &Call)> = Vec::new();
    for call in calls {
        match &call.request {
            Request::Reserve { quantity, key, .. } => match made(call).or_else(|| {
                let known = by_key.get(key.as_deref()?).copied();
                known.filter(|_| call.outcome.is_unknown())
            }) {
                Some(id) => told.entry(id).or_default().reserve.push(call),
                None if call.outcome.is_unknown() => unknown_reserves.push((*quantity, call)),
                None => {}
            },
            Request::Confirm { reservation } | Request::ConfirmLate { reservation } => {
                told.entry(reservation).or_default().confirm.push(call);
            }
            Request::Cancel { reservation } => told.entry(reservation).or_default().cancel.push(call),
            _ => {}
        }
    }
    let mut violations = missing(page, &told);
    violations.extend(unasked(page, &told, unknown_reserves));
    violations.extend(disorder(page, &told));
    violations
}

/// Answers without a row, and refusals with one.
fn missing(page: &Page, told: &HashMap<&str, Told<'_>>) -> Vec<Violation> {
    let mut rows: HashMap<&str, Vec<Kind>> = HashMap::new();
    for row in &page.ledger {
        if let Some(id) = &row.reservation_id {
            rows.entry(id).or_default().push(row.kind);
        }
    }
    let mut violations = Vec::new();
    for (id, told) in told {
        let kinds = rows.get(id).map(Vec::as_slice).unwrap_or_default();
        for (calls, expected) in [
            (&told.reserve, &[Kind::Reserved][..]),
            (&told.confirm, &[Kind::Confirmed, Kind::Reacquired]),
            (&told.cancel, &[Kind::Cancelled]),
        ] {
            let recorded = kinds.iter().any(|kind| expected.contains(kind));
            if let Some(call) = calls.iter().find(|call| call.outcome.is_ok()).filter(|_| !recorded) {
                let what =
                    format!("{} of {id} was answered as done, but the ledger has no such row", call.request.verb());
                violations.push(shown(what, call));
            }
        }
        let lapsed = told.confirm.iter().find(|call| call.outcome.is_refused_for(Reason::ReservationExpired));
        if let Some(call) = lapsed.filter(|_| kinds.contains(&Kind::Confirmed)) {
            violations.push(shown(
                format!("the confirm of {id} was refused as expired, but the ledger has it confirmed"),
                call,
            ));
        }
    }
    violations
}

/// Rows that no call explains.
fn unasked(page: &Page, told: &HashMap<&str, Told<'_>>, mut unknown: Vec<(i64, &Call)>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for row in &page.ledger {
        let Some(id) = row.reservation_id.as_deref() else { continue };
        let known = told.get(id);
        let may_have = |calls: &[&Call]| calls.iter().any(|call| !matches!(call.outcome, Outcome::Refused(_)));
        let asked = match row.kind {
            Kind::Created | Kind::Expired => true,
            Kind::Reserved => {
                known.is_some_and(|told| !told.reserve.is_empty()) || {
                    let matching = unknown.iter().position(|(quantity, _)| *quantity == row.quantity);
                    matching.map(|index| unknown.remove(index)).is_some()
                }
            }
            Kind::Confirmed | Kind::Reacquired => known.is_some_and(|told| may_have(&told.confirm)),
            Kind::Cancelled => known.is_some_and(|told| may_have(&told.cancel)),
        };
        if !asked {
            let what = format!("version {} is {:?} of {id}, which no call explains", row.version, row.kind);
            violations.push(Violation::new(Layer::Ledger, Breach::ShowsWhatNeverWas, what));
        }
    }
    violations
}

/// A row may not stand before another whose call had returned before its own was made.
fn disorder(page: &Page, told: &HashMap<&str, Told<'_>>) -> Option<Violation> {
    let mut latest: Option<(u64, &Call, &LedgerRow)> = None;
    for row in &page.ledger {
        let Some(told) = row.reservation_id.as_deref().and_then(|id| told.get(id)) else { continue };
        let calls = match row.kind {
            Kind::Created | Kind::Expired => continue,
            Kind::Reserved => &told.reserve,
            Kind::Confirmed | Kind::Reacquired => &told.confirm,
            Kind::Cancelled => &told.cancel,
        };
        let returned = calls
            .iter()
            .filter(|call| call.outcome.is_ok())
            .filter_map(|call| Some((call.returned_ns?, call)))
            .min_by_key(|(at, _)| *at);
        if let (Some((returned_ns, call)), Some((invoked_ns, earlier, before))) = (returned, latest)
            && returned_ns < invoked_ns
        {
            let what = format!(
                "version {} stands before version {}, although the {} behind the second had returned before the {} behind \
                 the first was made",
                before.version,
                row.version,
                call.request.verb(),
                earlier.request.verb()
            );
            let mut violation = shown(what, call);
            violation.calls.push(earlier.id);
            return Some(violation);
        }
        let invoked = calls.iter().map(|call| (call.invoked_ns, *call)).min_by_key(|(at, _)| *at);
        if let Some((invoked_ns, call)) = invoked
            && latest.is_none_or(|(known, ..)| invoked_ns > known)
        {
            latest = Some((invoked_ns, call, row));
        }
    }
    None
}

fn shown(what: String, call: &Call) -> Violation {
    let mut violation = Violation::new(Layer::Ledger, Breach::ShowsWhatNeverWas, what).shown_by([call.id]);
    violation.instant_ns = call.returned_ns;
    violation
}
