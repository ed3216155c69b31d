//! One call: what was asked, when, and what came back.

use serde::{Deserialize, Serialize};

/// The item of calls that are no part of a round's story. No item's history has them: what they do to another item is for
/// the scenario to judge.
pub const ASIDE: &str = "aside";

/// How an outcome begins of a call that never left: whose limit that was, the harness's or the service's, is not known, so
/// it is no refusal; and it certainly did not happen.
pub const UNSENT: &str = "the harness could not open a connection";

/// One call and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// Creates an item.
    CreateItem {
        /// Its name, with the run's id in it.
        name: String,
        /// How many units it starts with.
        total: i64,
        /// The `Idempotency-Key`, where there is one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<String>,
    },
    /// Reads an item.
    GetItem {
        /// Its id.
        item: String,
    },
    /// Holds units.
    Reserve {
        /// Of which item.
        item: String,
        /// Who holds.
        customer: String,
        /// How many.
        quantity: i64,
        /// For how long, where the caller says.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ttl_ms: Option<u64>,
        /// The `Idempotency-Key`, where there is one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<String>,
    },
    /// Asks for a quantity that is no whole number, as JSON.
    ReserveOdd {
        /// Of which item.
        item: String,
        /// Who holds.
        customer: String,
        /// What stands where the quantity belongs.
        quantity: serde_json::Value,
    },
    /// Reads a reservation.
    GetReservation {
        /// Its id.
        reservation: String,
    },
    /// Deducts a hold's units for good.
    Confirm {
        /// Which hold.
        reservation: String,
    },
    /// The same of a hold that has lapsed: its units are taken anew where they are free.
    ConfirmLate {
        /// Which hold.
        reservation: String,
    },
    /// Gives a hold's units back.
    Cancel {
        /// Which hold.
        reservation: String,
    },
    /// Records lapsed holds, of every item.
    Expire,
}

impl Request {
    /// The verb, as everywhere.
    pub fn verb(&self) -> &'static str {
        match self {
            Request::CreateItem { .. } => "create_item",
            Request::GetItem { .. } => "get_item",
            Request::Reserve { .. } => "reserve",
            Request::ReserveOdd { .. } => "reserve_odd",
            Request::GetReservation { .. } => "get_reservation",
            Request::Confirm { .. } => "confirm",
            Request::ConfirmLate { .. } => "confirm_late",
            Request::Cancel { .. } => "cancel",
            Request::Expire => "expire",
        }
    }

    /// Its `Idempotency-Key`, where there is one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Request::CreateItem { key, .. } | Request::Reserve { key, .. } => key.as_deref(),
            _ => None,
        }
    }

    /// The reservation it names.
    pub fn reservation(&self) -> Option<&str> {
        match self {
            Request::GetReservation { reservation }
            | Request::Confirm { reservation }
            | Request::ConfirmLate { reservation }
            | Request::Cancel { reservation } => Some(reservation),
            _ => None,
        }
    }
}

/// A reservation's state, in the contract's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Held, or lapsed and not yet recorded.
    Pending,
    /// Sold.
    Confirmed,
    /// Given back.
    Cancelled,
    /// Lapsed.
    Expired,
}

/// What an answer says of an item; a deployment need not say everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ItemView {
    /// Its id.
    pub id: Option<String>,
    /// All units there are.
    pub total: Option<i64>,
    /// Units to be had.
    pub available: Option<i64>,
    /// Units in live holds.
    pub held: Option<i64>,
    /// Units sold.
    pub confirmed: Option<i64>,
    /// The ledger's newest version.
    pub version: Option<i64>,
}

/// What an answer says of a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReservationView {
    /// Its id.
    pub id: Option<String>,
    /// Its item's id.
    pub item: Option<String>,
    /// Its state.
    pub status: Option<Status>,
    /// Its size.
    pub quantity: Option<i64>,
    /// From creation to deadline by the service's own clock, where it says both.
    pub ttl_ms: Option<u64>,
}

/// What a sweep says it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepView {
    /// Reservations recorded as expired.
    pub expired: Option<u64>,
    /// Units given back.
    pub released: Option<i64>,
    /// Whether more were waiting.
    pub has_more: Option<bool>,
}

/// The content of a 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Of `create_item` and `get_item`.
    Item(ItemView),
    /// Of the reservation verbs.
    Reservation(ReservationView),
    /// Of `expire`.
    Sweep(SweepView),
}

impl Answer {
    /// Whether it is of the kind that a request gets.
    pub fn fits(&self, request: &Request) -> bool {
        match request {
            Request::CreateItem { .. } | Request::GetItem { .. } => matches!(self, Answer::Item(_)),
            Request::Expire => matches!(self, Answer::Sweep(_)),
            Request::Reserve { .. }
            | Request::ReserveOdd { .. }
            | Request::GetReservation { .. }
            | Request::Confirm { .. }
            | Request::ConfirmLate { .. }
            | Request::Cancel { .. } => matches!(self, Answer::Reservation(_)),
        }
    }
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Too few units are free.
    InsufficientAvailability,
    /// The hold lapsed.
    ReservationExpired,
    /// The hold is sold.
    ReservationConfirmed,
    /// The hold was given back.
    ReservationCancelled,
    /// The hold is over, and the answer does not say how.
    NotPending,
    /// No such item or reservation.
    NotFound,
    /// The request itself was at fault.
    Invalid,
    /// The key may not do this.
    Unauthorized,
    /// Nothing was executed because of others; the caller may try again.
    Contention,
    /// No connection: not a byte was written.
    Unreachable,
}

impl Reason {
    /// The same snake_case word as in answers and reports.
    pub fn word(self) -> &'static str {
        match self {
            Reason::InsufficientAvailability => "insufficient_availability",
            Reason::ReservationExpired => "reservation_expired",
            Reason::ReservationConfirmed => "reservation_confirmed",
            Reason::ReservationCancelled => "reservation_cancelled",
            Reason::NotPending => "not_pending",
            Reason::NotFound => "not_found",
            Reason::Invalid => "invalid",
            Reason::Unauthorized => "unauthorized",
            Reason::Contention => "contention",
            Reason::Unreachable => "unreachable",
        }
    }
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, and the answer was understood.
    Ok(Answer),
    /// Nothing happened, for this reason: an observation too.
    Refused(Reason),
    /// It may have happened, at any time after its invocation.
    Unknown(String),
}

impl Outcome {
    /// Whether it was done.
    pub fn is_ok(&self) -> bool {
        matches!(self, Outcome::Ok(_))
    }

    /// Whether nobody can tell.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Outcome::Unknown(_))
    }

    /// Whether its call never left.
    pub fn is_unsent(&self) -> bool {
        matches!(self, Outcome::Unknown(why) if why.starts_with(UNSENT))
    }

    /// Whether it was refused for this reason.
    pub fn is_refused_for(&self, reason: Reason) -> bool {
        *self == Outcome::Refused(reason)
    }

    /// The item it shows.
    pub fn item(&self) -> Option<&ItemView> {
        match self {
            Outcome::Ok(Answer::Item(item)) => Some(item),
            _ => None,
        }
    }

    /// The reservation it shows.
    pub fn reservation(&self) -> Option<&ReservationView> {
        match self {
            Outcome::Ok(Answer::Reservation(reservation)) => Some(reservation),
            _ => None,
        }
    }
}

/// One call from its invocation to its return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its number in the run.
    pub id: u64,
    /// The virtual client: one connection, one call at a time.
    pub client: u32,
    /// Which base URL, from 0.
    pub instance: u32,
    /// The item it concerns; none for `expire`, which concerns them all.
    #[serde(rename = "concerns")]
    pub item: Option<String>,
    /// What was asked.
    #[serde(flatten)]
    pub request: Request,
    /// Just before the byte was written without which no server can act on it.
    pub invoked_ns: u64,
    /// Just after the answer's head was read; none when it never came.
    pub returned_ns: Option<u64>,
    /// The answer's status code.
    pub status: Option<u16>,
    /// What it came to.
    pub outcome: Outcome,
}

impl Call {
    /// Whether it was told that others were in its way, and to come again.
    pub fn is_contended(&self) -> bool {
        self.outcome.is_refused_for(Reason::Contention)
    }

    /// The item to whose history it belongs; none for `expire`, and for what was done aside.
    pub fn about(&self) -> Option<&str> {
        self.item.as_deref().filter(|item| *item != ASIDE)
    }
}

/// The word an outcome has in the table.
pub fn outcome_word(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Ok(_) => "ok",
        Outcome::Refused(reason) => reason.word(),
        Outcome::Unknown(_) => "unknown",
    }
}

/// An outcome for a sentence.
pub fn told(outcome: &Outcome, status: Option<u16>) -> String {
    let word = match outcome {
        Outcome::Unknown(why) => format!("unknown ({why})"),
        other => outcome_word(other).to_owned(),
    };
    status.map_or_else(|| word.clone(), |status| format!("{status} {word}"))
}

/// How many of these calls were under way at once, at the fullest moment.
pub fn overlap(calls: &[Call]) -> usize {
    let mut edges: Vec<(u64, i64)> =
        calls.iter().flat_map(|call| [(call.invoked_ns, 1), (call.returned_ns.unwrap_or(u64::MAX), -1)]).collect();
    // At one instant an end comes first: a call that returned then no longer overlaps one that begins.
    edges.sort_unstable();
    let mut under_way = 0_i64;
    let mut fullest = 0;
    for (_, step) in edges {
        under_way += step;
        fullest = fullest.max(under_way);
    }
    usize::try_from(fullest).unwrap_or_default()
}

/// Of what a call is, in a word or two.
pub fn subject(call: &Call) -> String {
    match &call.request {
        Request::CreateItem { total, .. } => format!("of {total}"),
        Request::Reserve { quantity, ttl_ms: Some(ttl_ms), .. } => format!("{quantity} for {ttl_ms} ms"),
        Request::Reserve { quantity, .. } => format!("{quantity}"),
        other => other.reservation().map_or_else(String::new, short),
    }
}

/// The end of an id tells it apart; the start of a time-ordered one does not.
pub fn short(id: &str) -> String {
    let letters: Vec<char> = id.chars().collect();
    if letters.len() <= 12 {
        id.to_owned()
    } else {
        format!("…{}", letters[letters.len() - 8..].iter().collect::<String>())
    }
}
