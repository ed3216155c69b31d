//! What is known of one hold: when it was made, when it can lapse, and what every answer about it implies.

use crate::{
    check::verdict::Violation,
    history::{Call, Outcome, Reason, Request, ReservationView, Status},
    target::dialect::Behaviour,
};

/// A hold that some call was told it has.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The service's id for it.
    pub id: String,
    /// Its units.
    pub quantity: i64,
    /// The call that made it.
    pub made_by: u64,
    /// Its deadline on the harness's clock: the service read its own clock between the call's invocation and its
    /// return, so the deadline lies that far behind both.
    pub lapses_ns: Option<(u64, u64)>,
    /// How far the service may round the deadline.
    pub rounding_ns: u64,
    /// Whether a lapsed hold may be cancelled: it gives nothing back twice, so only the contract's own words forbid it.
    pub late_cancel_is_ok: bool,
    /// Calls that were told it is confirmed.
    pub confirmed_by: Vec<u64>,
    /// Calls that were told it is cancelled.
    pub cancelled_by: Vec<u64>,
    /// Whether some answer said it has expired.
    pub said_expired: bool,
    /// Whether a call about it got no answer that can be read.
    pub unknown: bool,
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    Held,
    /// It was sold.
    Confirmed,
    /// It was given back.
    Cancelled,
    /// It lapsed.
    Expired,
}

impl Hold {
    /// The hold that a successful reservation made.
    pub fn made(
        call: &Call,
        view: &ReservationView,
        quantity: i64,
        asked_ms: Option<u64>,
        behaviour: &Behaviour,
    ) -> Option<Self> {
        let returned = call.returned_ns?;
        let ttl_ns = asked_ms.or(view.ttl_ms).map(|ttl_ms| ttl_ms.saturating_mul(1_000_000));
        Some(Hold {
            id: view.id.clone()?,
            quantity,
            made_by: call.id,
            lapses_ns: ttl_ns.map(|ttl_ns| (call.invoked_ns.saturating_add(ttl_ns), returned.saturating_add(ttl_ns))),
            rounding_ns: behaviour.deadline_rounding_ms * 1_000_000,
            late_cancel_is_ok: !behaviour.exact_reasons,
            confirmed_by: Vec::new(),
            cancelled_by: Vec::new(),
            said_expired: false,
            unknown: false,
        })
    }

    /// Notes what a call says about this hold, and whether it may say so.
    pub fn told(&mut self, call: &Call) -> Option<Violation> {
        let confirm = matches!(call.request, Request::Confirm { .. });
        let cancel = matches!(call.request, Request::Cancel { .. });
        match &call.outcome {
            Outcome::Ok(_) if confirm => self.confirmed_by.push(call.id),
            Outcome::Ok(_) if cancel => self.cancelled_by.push(call.id),
            // Neither a confirm nor a cancel that got no answer can have happened then.
            Outcome::Refused(Reason::ReservationExpired) => (self.said_expired, self.unknown) = (true, false),
            // A call whose answer was lost is told of by the refusal of its repeat.
            Outcome::Refused(Reason::ReservationConfirmed) if self.unknown => self.confirmed_by.push(call.id),
            Outcome::Refused(Reason::ReservationCancelled) if self.unknown => self.cancelled_by.push(call.id),
            Outcome::Unknown(_) if confirm || cancel => self.unknown = true,
            _ => {}
        }
        let status = call.outcome.reservation().and_then(|view| view.status);
        self.contradiction().or_else(|| self.out_of_time(call, confirm, cancel, status)).map(|what| {
            let shown =
                [self.made_by, call.id].into_iter().chain(self.confirmed_by.iter().chain(&self.cancelled_by).copied());
            let mut violation =
                Violation::new("expectation", format!("reservation {}: {what}", self.id)).shown_by(shown);
            violation.instant_ns = call.returned_ns;
            violation.calls.sort_unstable();
            violation.calls.dedup();
            violation
        })
    }

    fn contradiction(&self) -> Option<String> {
        (!self.confirmed_by.is_empty() && !self.cancelled_by.is_empty())
            .then(|| "one caller was told it is confirmed, another that it is cancelled".to_owned())
    }

    fn out_of_time(&self, call: &Call, confirm: bool, cancel: bool, status: Option<Status>) -> Option<String> {
        let (first, last) = self.lapses_ns?;
        let late_ns = call.invoked_ns.saturating_sub(last);
        // A repeat of what was done in time is answered as the first time.
        let repeat = self.confirmed_by.len() + self.cancelled_by.len() > 1;
        if call.outcome.is_ok()
            && (confirm || cancel && !self.late_cancel_is_ok)
            && late_ns > self.rounding_ns
            && !repeat
        {
            let verb = if confirm { "confirmed" } else { "cancelled" };
            return Some(format!(
                "was {verb} although its deadline had passed {} ms before the call",
                late_ns / 1_000_000
            ));
        }
        let says_expired = call.outcome.is_refused_for(Reason::ReservationExpired) || status == Some(Status::Expired);
        let early_ns = first.saturating_sub(call.returned_ns?);
        if says_expired && early_ns > self.rounding_ns {
            return Some(format!("was called expired {} ms before its deadline", early_ns / 1_000_000));
        }
        None
    }

    /// What became of it, as of now.
    pub fn fate(&self, now_ns: u64) -> Fate {
        if !self.confirmed_by.is_empty() {
            Fate::Confirmed
        } else if !self.cancelled_by.is_empty() {
            Fate::Cancelled
        } else if self.lapses_ns.is_some_and(|(_, last)| last.saturating_add(self.rounding_ns) < now_ns) {
            Fate::Expired
        } else {
            Fate::Held
        }
    }
}
