//! What was asked, when, and what came back: every call of a run on one monotonic clock, as JSON lines.
//! Nothing is ever rewritten: what is learned later about a call is a line of its own.

use std::{
    fs::File,
    io::{BufWriter, Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::model::Contract;

/// The item of calls that are no part of a round's story. No item's history has them: what they do to another item is for
/// the scenario to judge.
pub const ASIDE: &str = "aside";

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
    /// The item to whose history it belongs; none for `expire`, and for what was done aside.
    pub fn about(&self) -> Option<&str> {
        self.item.as_deref().filter(|item| *item != ASIDE)
    }
}

/// One line of a history file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line.
    Run {
        /// The file's format.
        format: u32,
        /// The run's id, part of every item's name.
        run: String,
        /// What the run's choices came from.
        seed: u64,
        /// The base URLs, without anything secret.
        instances: Vec<String>,
        /// What the deployment's answers are held to.
        contract: Contract,
    },
    /// A round of a scenario begins; the calls that follow are its.
    Round {
        /// The scenario.
        scenario: String,
        /// Its round, from 1.
        round: u32,
    },
    /// A call that returned or was given up.
    Call(Box<Call>),
    /// A reservation's deadline was moved by SQL.
    Deadline {
        /// The reservation.
        reservation: String,
        /// It lapses not before this instant.
        first_ns: u64,
        /// And not after this one.
        last_ns: u64,
    },
    /// What was found out later about an unknown call.
    Resolved {
        /// The call.
        call: u64,
        /// Whether it happened.
        happened: bool,
        /// How that is known.
        evidence: String,
    },
    /// The last line of a run that was not cut short.
    End {
        /// How many calls the file holds.
        calls: u64,
    },
}

/// The format this version writes and reads.
pub const FORMAT: u32 = 1;

/// The clock of a run and the file its history goes to.
pub struct Recorder {
    start: Instant,
    state: Mutex<State>,
}

struct State {
    calls: u64,
    file: Option<BufWriter<File>>,
    failure: Option<String>,
}

impl Recorder {
    /// A clock that starts now; with a path, a new file of that name.
    pub fn start(path: Option<&Path>) -> std::io::Result<Self> {
        let file = path
            .map(|path| File::options().read(true).write(true).create_new(true).open(path))
            .transpose()?
            .map(BufWriter::new);
        Ok(Recorder { start: Instant::now(), state: Mutex::new(State { calls: 0, file, failure: None }) })
    }

    /// A clock that starts now, and a file that nobody else sees: it has no name, and is gone with this process,
    /// however that ends.
    pub fn nameless(beside: &Path) -> std::io::Result<Self> {
        let path = beside.join(format!(".stockhold-history-{}", uuid::Uuid::now_v7()));
        let recorder = Recorder::start(Some(&path))?;
        std::fs::remove_file(&path)?;
        Ok(recorder)
    }

    /// Copies what was recorded, where there is a file; says how many bytes that were.
    pub fn copy(&self, into: &mut impl Write) -> std::io::Result<Option<u64>> {
        let mut state = self.state();
        let Some(file) = &mut state.file else { return Ok(None) };
        file.seek(SeekFrom::Start(0))?;
        let copied = std::io::copy(file.get_mut(), into)?;
        Ok(Some(copied))
    }

    /// An instant on the run's clock.
    pub fn ns(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant behind a number of the run's clock.
    pub fn instant(&self, ns: u64) -> Instant {
        self.start + Duration::from_nanos(ns)
    }

    /// Now.
    pub fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    /// The next call's number.
    pub fn number(&self) -> u64 {
        let mut state = self.state();
        state.calls += 1;
        state.calls
    }

    /// How many calls were numbered.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Adds a line. A full disk is remembered and told once, at the end, instead of stopping a race in its middle.
    pub fn record(&self, event: &Event) {
        let mut state = self.state();
        let State { file: Some(file), failure, .. } = &mut *state else { return };
        let written =
            serde_json::to_writer(&mut *file, event).map_err(std::io::Error::from).and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            failure.get_or_insert_with(|| error.to_string());
        }
    }

    /// Writes the last line and whatever was buffered.
    pub fn finish(&self) -> Result<(), String> {
        let calls = self.calls();
        self.record(&Event::End { calls });
        let mut state = self.state();
        if let Some(file) = &mut state.file {
            file.flush().map_err(|error| format!("the history could not be written: {error}"))?;
        }
        state.failure.take().map_or(Ok(()), |error| Err(format!("the history could not be written: {error}")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves nothing half-done here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
