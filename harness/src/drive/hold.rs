//! What is known of one hold: when it was made, when it can lapse, and what every answer about it implies.

use crate::{
    history::{Call, Outcome, Reason, Request, ReservationView},
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
    /// Calls that were told it is confirmed.
    pub confirmed_by: Vec<u64>,
    /// Calls that were told it is cancelled.
    pub cancelled_by: Vec<u64>,
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
            confirmed_by: Vec::new(),
            cancelled_by: Vec::new(),
            unknown: false,
        })
    }

    /// Notes what a call says about this hold. Whether it may say so is for `check` to decide.
    pub fn told(&mut self, call: &Call) {
        let confirm = matches!(call.request, Request::Confirm { .. } | Request::ConfirmLate { .. });
        let cancel = matches!(call.request, Request::Cancel { .. });
        match &call.outcome {
            Outcome::Ok(_) if confirm => self.confirmed_by.push(call.id),
            Outcome::Ok(_) if cancel => self.cancelled_by.push(call.id),
            // Neither a confirm nor a cancel that got no answer can have happened then.
            Outcome::Refused(Reason::ReservationExpired) => self.unknown = false,
            // A call whose answer was lost is told of by the refusal of its repeat.
            Outcome::Refused(Reason::ReservationConfirmed) if self.unknown => self.confirmed_by.push(call.id),
            Outcome::Refused(Reason::ReservationCancelled) if self.unknown => self.cancelled_by.push(call.id),
            Outcome::Unknown(_) if confirm || cancel => self.unknown = true,
            _ => {}
        }
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
