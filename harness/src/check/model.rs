//! The item as a pure function, and one item's history as operations on it. Written here and not taken from the
//! service: a second opinion must not share its bugs.

use crate::history::Contract;

/// A hold whose deadline is neither asked for nor shown lives this long at least.
const LIFE_MIN_NS: u64 = 1_000_000_000;

/// The states of a hold, as bits: an observation allows a set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct States(u8);

impl States {
    /// None of them.
    pub const NONE: States = States(0);
    /// Not yet made.
    pub const ABSENT: States = States(1);
    /// Counting as held.
    pub const HELD: States = States(2);
    /// Sold.
    pub const CONFIRMED: States = States(4);
    /// Given back.
    pub const CANCELLED: States = States(8);
    /// Lapsed.
    pub const LAPSED: States = States(16);
    /// Over, one way or another.
    pub const OVER: States = States(4 | 8 | 16);

    /// Either set's states.
    #[must_use]
    pub fn or(self, other: States) -> States {
        States(self.0 | other.0)
    }

    /// This set's states that are not in the other.
    #[must_use]
    pub fn but(self, other: States) -> States {
        States(self.0 & !other.0)
    }

    /// Whether the sets meet.
    pub fn meets(self, other: States) -> bool {
        self.0 & other.0 != 0
    }
}

/// What an operation does, or observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Takes the hold's units.
    Reserve {
        /// Index of the hold.
        hold: usize,
    },
    /// Sells them.
    Confirm {
        /// Index of the hold.
        hold: usize,
        /// It was sent before the deadline, so it may be decided in time and committed after it: until the commit,
        /// reads show the hold as lapsed.
        met: bool,
    },
    /// Sells the units of a hold that is held, or that has lapsed and whose units are free.
    ConfirmLate {
        /// Index of the hold.
        hold: usize,
    },
    /// Gives them back.
    Cancel {
        /// Index of the hold.
        hold: usize,
        /// As for a confirm.
        met: bool,
    },
    /// The deadline passes: gives them back if they are still held.
    Lapse {
        /// Index of the hold.
        hold: usize,
    },
    /// Too few units were free for this many.
    TooFew {
        /// How many were wanted.
        quantity: i64,
    },
    /// The hold had lapsed, and too few units were free to take its own anew; or it had ended otherwise.
    TooLate {
        /// Index of the hold.
        hold: usize,
        /// The other states that explain the answer.
        or: States,
    },
    /// The hold was in one of these states.
    Observe {
        /// Index of the hold.
        hold: usize,
        /// The states that explain the answer.
        allowed: States,
    },
    /// The counters were these; what was not shown is not compared.
    Read {
        /// Units to be had.
        available: Option<i64>,
        /// Units in live holds.
        held: Option<i64>,
        /// Units sold.
        confirmed: Option<i64>,
    },
}

impl Act {
    /// The hold that it changes; none for what only observes.
    pub fn changes(&self) -> Option<usize> {
        match *self {
            Act::Reserve { hold }
            | Act::Confirm { hold, .. }
            | Act::ConfirmLate { hold }
            | Act::Cancel { hold, .. }
            | Act::Lapse { hold } => Some(hold),
            Act::TooFew { .. } | Act::TooLate { .. } | Act::Observe { .. } | Act::Read { .. } => None,
        }
    }
}

/// One operation and when it can have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The call; none for a deadline.
    pub call: Option<u64>,
    /// Not before.
    pub invoked_ns: u64,
    /// Not after; never, for a call that did not return.
    pub returned_ns: u64,
    /// Whether it took effect for certain.
    pub must: bool,
    /// Whether it may repeat what was done before, and change nothing.
    pub repeats: bool,
    /// What it does.
    pub act: Act,
}

/// One hold of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelHold {
    /// The service's id; none where nobody was told.
    pub id: Option<String>,
    /// Its units.
    pub quantity: i64,
    /// Whether a repeated reservation under its key finds it instead of making another.
    pub keyed: bool,
    /// When the first call that may have made it was sent.
    pub made_ns: u64,
    /// When the first call returned that was told of it.
    pub made_by_ns: u64,
    /// Its deadline: not before, not after; none where no answer shows it.
    pub lapses: Option<(u64, u64)>,
    /// Its deadline had not passed then, because a call that was sent then met it.
    pub alive_ns: u64,
    /// It had passed then, because an answer said so.
    pub passed_ns: u64,
}

/// One item's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemHistory {
    /// The item.
    pub item: String,
    /// All its units.
    pub total: i64,
    /// The contract it is held to.
    pub contract: Contract,
    /// Its holds.
    pub holds: Vec<ModelHold>,
    /// Its operations, by invocation.
    pub ops: Vec<Op>,
    /// Holds that were certainly sold by a confirm sent before their deadline, and perhaps committed after it: reads may show
    /// such a hold lapsed in between, but no other hold had its units.
    pub kept: Vec<usize>,
    /// When the last call that returned did.
    pub end_ns: u64,
}

/// The item at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Units in live holds.
    pub held: i64,
    /// Units sold.
    pub confirmed: i64,
    /// Each hold's state.
    pub holds: Vec<States>,
}

impl State {
    fn turn(&mut self, hold: usize, to: States, held: i64, confirmed: i64) -> Option<bool> {
        self.holds[hold] = to;
        self.held += held;
        self.confirmed += confirmed;
        Some(true)
    }
}

impl ItemHistory {
    /// Whether a call that was sent then can have been decided before the hold's deadline.
    pub fn in_time(&self, hold: usize, invoked_ns: u64) -> bool {
        self.latest(hold).is_some_and(|last| invoked_ns <= last)
    }

    /// The earliest that a hold's deadline can be.
    pub fn earliest(&self, hold: usize) -> u64 {
        let ModelHold { lapses, made_ns, alive_ns, .. } = self.holds[hold];
        let first = lapses.map(|(first, _)| first.saturating_sub(self.contract.rounding_ns));
        first.unwrap_or(made_ns.saturating_add(LIFE_MIN_NS)).max(alive_ns)
    }

    /// The latest that it can be; none where no answer shows it.
    pub fn latest(&self, hold: usize) -> Option<u64> {
        let ModelHold { lapses, passed_ns, .. } = self.holds[hold];
        lapses.map(|(_, last)| last.saturating_add(self.contract.rounding_ns).min(passed_ns))
    }

    /// The item before anything happened.
    pub fn start(&self) -> State {
        State { held: 0, confirmed: 0, holds: vec![States::ABSENT; self.holds.len()] }
    }

    /// Applies an operation in place: whether it fits, and if so, whether it changed anything.
    pub fn step(&self, state: &mut State, op: &Op) -> Option<bool> {
        match op.act {
            Act::Reserve { hold } => {
                let ModelHold { quantity, keyed, .. } = self.holds[hold];
                if state.holds[hold] != States::ABSENT {
                    return (keyed && op.repeats).then_some(false);
                }
                let kept = self.kept.iter().filter(|hold| state.holds[**hold] == States::LAPSED);
                let kept: i64 = kept.map(|hold| self.units(*hold)).sum();
                let fits = state.held + state.confirmed + kept + quantity <= self.total;
                if fits { state.turn(hold, States::HELD, quantity, 0) } else { None }
            }
            Act::Confirm { hold, met } => match state.holds[hold] {
                States::HELD if met || self.holds[hold].lapses.is_none() => {
                    state.turn(hold, States::CONFIRMED, -self.units(hold), self.units(hold))
                }
                States::LAPSED if met => self.take_anew(state, hold),
                States::CONFIRMED if op.repeats && self.contract.repeated_confirm_is_ok => Some(false),
                _ => None,
            },
            Act::ConfirmLate { hold } => match state.holds[hold] {
                States::HELD => state.turn(hold, States::CONFIRMED, -self.units(hold), self.units(hold)),
                States::LAPSED => self.take_anew(state, hold),
                States::CONFIRMED if op.repeats && self.contract.repeated_confirm_is_ok => Some(false),
                _ => None,
            },
            Act::Cancel { hold, met } => match state.holds[hold] {
                States::HELD if met || self.holds[hold].lapses.is_none() || !self.contract.exact_reasons => {
                    state.turn(hold, States::CANCELLED, -self.units(hold), 0)
                }
                States::CANCELLED if op.repeats && self.contract.repeated_cancel_is_ok => Some(false),
                // Some services call a lapsed hold cancelled when asked to: nothing is given back twice by that.
                States::LAPSED if met || op.repeats && !self.contract.exact_reasons => {
                    state.turn(hold, States::CANCELLED, 0, 0)
                }
                _ => None,
            },
            Act::Lapse { hold } => match state.holds[hold] {
                States::HELD => state.turn(hold, States::LAPSED, -self.units(hold), 0),
                States::ABSENT => None,
                _ => Some(false),
            },
            Act::TooFew { quantity } => (quantity > self.free(state)).then_some(false),
            Act::TooLate { hold, or } => {
                let lapsed = state.holds[hold] == States::LAPSED && self.units(hold) > self.free(state);
                (lapsed || state.holds[hold].meets(or)).then_some(false)
            }
            Act::Observe { hold, allowed } => state.holds[hold].meets(allowed).then_some(false),
            Act::Read { available, held, confirmed } => {
                let agrees = available.is_none_or(|shown| shown == self.free(state))
                    && held.is_none_or(|shown| shown == state.held)
                    && confirmed.is_none_or(|shown| shown == state.confirmed);
                agrees.then_some(false)
            }
        }
    }

    /// Units that no hold has and no confirm sold.
    pub fn free(&self, state: &State) -> i64 {
        self.total - state.held - state.confirmed
    }

    fn units(&self, hold: usize) -> i64 {
        self.holds[hold].quantity
    }

    fn take_anew(&self, state: &mut State, hold: usize) -> Option<bool> {
        if self.units(hold) > self.free(state) {
            return None;
        }
        state.turn(hold, States::CONFIRMED, 0, self.units(hold))
    }
}
