//! What was asked, when, and what came back: every call of a run on one monotonic clock, as JSON lines.

mod call;
mod contract;
mod file;
mod recorder;
mod seed;

pub use call::{
    ASIDE, Answer, Call, ItemView, Outcome, Reason, Request, ReservationView, Status, SweepView, UNSENT, outcome_word,
    overlap, short, subject, told,
};
pub use contract::{Contract, Moved};
pub use file::{File, read, resolved};
pub use recorder::{Event, FORMAT, Nemesis, Recorder, Struck};
pub use seed::Seed;
