//! The item as a pure function, and one item's history as operations on it. Written here and not taken from the
//! service: a second opinion must not share its bugs.

use crate::history::Contract;

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
    },
    /// Gives them back.
    Cancel {
        /// Index of the hold.
        hold: usize,
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
        /// Units of holds whose deadline has passed while their confirm is under way: the confirm may have been decided
        /// in time and be committed later, and a read between the two shows its units as free.
        overdue: i64,
    },
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
                    return (keyed && op.must).then_some(false);
                }
                let fits = state.held + state.confirmed + quantity <= self.total;
                if fits { state.turn(hold, States::HELD, quantity, 0) } else { None }
            }
            Act::Confirm { hold } => match state.holds[hold] {
                States::HELD => {
                    state.turn(hold, States::CONFIRMED, -self.holds[hold].quantity, self.holds[hold].quantity)
                }
                States::CONFIRMED if op.must && self.contract.repeated_confirm_is_ok => Some(false),
                _ => None,
            },
            Act::Cancel { hold } => match state.holds[hold] {
                States::HELD => state.turn(hold, States::CANCELLED, -self.holds[hold].quantity, 0),
                States::CANCELLED if op.must && self.contract.repeated_cancel_is_ok => Some(false),
                // Some services call a lapsed hold cancelled when asked to: nothing is given back twice by that.
                States::LAPSED if op.must && !self.contract.exact_reasons => state.turn(hold, States::CANCELLED, 0, 0),
                _ => None,
            },
            Act::Lapse { hold } => match state.holds[hold] {
                States::HELD => state.turn(hold, States::LAPSED, -self.holds[hold].quantity, 0),
                States::ABSENT => None,
                _ => Some(false),
            },
            Act::TooFew { quantity } => (quantity > self.total - state.held - state.confirmed).then_some(false),
            Act::Observe { hold, allowed } => state.holds[hold].meets(allowed).then_some(false),
            Act::Read { available, held, confirmed, overdue } => {
                let free = self.total - state.held - state.confirmed;
                let agrees = |freed: i64| {
                    available.is_none_or(|shown| shown == free + freed)
                        && held.is_none_or(|shown| shown == state.held - freed)
                        && confirmed.is_none_or(|shown| shown == state.confirmed)
                };
                (0..=overdue).any(agrees).then_some(false)
            }
        }
    }
}
