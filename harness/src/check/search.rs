//! The second layer: looks for an order of the operations that explains every answer (Wing and Gong, "Testing and
//! verifying concurrent objects", 1993, with Lowe's memo), made short by symmetry: what only observes is placed as soon
//! as it fits, and of operations that nothing can tell apart only the most urgent one is tried.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use crate::{
    check::{
        model::{Act, ItemHistory, Op, State},
        verdict::{Breach, Decision, Layer, Violation},
    },
    history::Seed,
};

/// Looks for an order, within the limits.
pub fn search(history: &ItemHistory, deadline: Instant, states: usize) -> Decision {
    Search::new(history).run(deadline, states)
}

struct Search<'h> {
    history: &'h ItemHistory,
    state: State,
    /// Operations not yet placed, by invocation; and of them those that must be, by return.
    by_invocation: Links,
    by_return: Links,
    /// Interchangeable operations share a class.
    classes: Vec<usize>,
    /// The operation at each place of the return order, and its place there.
    urgency: Vec<usize>,
    place: Vec<usize>,
    /// A set is remembered by the sum of its members' random numbers.
    numbers: Vec<u128>,
    set: u128,
    /// Sets from which no order goes on.
    dead: HashSet<u128>,
    /// Reads that show what is sold, by how much they show: what is sold is never less again.
    reads: Vec<usize>,
    by_sold: Links,
    sold_place: Vec<usize>,
    /// How often each operation was the one that could not be placed: the next attempt sees to it first.
    weights: Vec<u32>,
    /// The furthest any order came: how many were placed, and who could not be.
    furthest: (usize, usize),
    placed: usize,
}

/// Which observation to work towards: the one that shows least sold, then what was in the way before, then the nearest.
type Promise = (i64, std::cmp::Reverse<u32>, i64);

/// One decision: what was placed on arriving here, and what may be tried next.
struct Frame {
    trail: Vec<Undo>,
    choices: Vec<usize>,
}

enum Attempt {
    Decided(Decision),
    GivenUp,
}

struct Undo {
    op: usize,
    /// What the operation changed: its hold's former state, and the counters.
    changed: Option<(usize, crate::check::model::States, i64, i64)>,
}

impl<'h> Search<'h> {
    fn new(history: &'h ItemHistory) -> Self {
        let count = history.ops.len();
        let mut urgency: Vec<usize> = (0..count).collect();
        urgency.sort_by_key(|op| (!history.ops[*op].must, history.ops[*op].returned_ns));
        let mut place = vec![0; count];
        urgency.iter().enumerate().for_each(|(rank, op)| place[*op] = rank);
        let musts = history.ops.iter().filter(|op| op.must).count();
        let mut random = Seed::new(0x5eed);
        let sold = |op: &usize| match history.ops[*op].act {
            Act::Read { confirmed, .. } if history.ops[*op].must => confirmed,
            _ => None,
        };
        let mut reads: Vec<usize> = (0..count).filter(|op| sold(op).is_some()).collect();
        reads.sort_by_key(sold);
        let mut sold_place = vec![usize::MAX; count];
        reads.iter().enumerate().for_each(|(rank, op)| sold_place[*op] = rank);
        Search {
            history,
            state: history.start(),
            by_invocation: Links::new(count),
            by_return: Links::new(musts),
            classes: classes(history),
            urgency,
            place,
            numbers: (0..count).map(|_| u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())).collect(),
            set: 0,
            dead: HashSet::new(),
            by_sold: Links::new(reads.len()),
            reads,
            sold_place,
            weights: vec![0; count],
            furthest: (0, 0),
            placed: 0,
        }
    }

    /// Attempts that grow: a wrong turn taken early is better left than searched to its end, and what was in the way
    /// comes first the next time. What is known to lead nowhere stays known, so the last attempt tries everything.
    fn run(mut self, deadline: Instant, states: usize) -> Decision {
        let mut steps = 4 * self.history.ops.len() + 1_000;
        loop {
            match self.attempt(steps, deadline, states) {
                Attempt::Decided(decision) => return decision,
                Attempt::GivenUp if self.dead.len() >= states || Instant::now() > deadline => {
                    let why = format!(
                        "no order was found, and not all were tried: {} states lead nowhere, and {} of {} operations \
                         can be put in order before {}",
                        self.dead.len(),
                        self.furthest.0,
                        self.history.ops.len(),
                        told(self.history, &self.history.ops[self.furthest.1]),
                    );
                    return Decision::Undecided(why);
                }
                Attempt::GivenUp => steps *= 2,
            }
        }
    }

    fn attempt(&mut self, steps: usize, deadline: Instant, states: usize) -> Attempt {
        let mut frames: Vec<Frame> = Vec::new();
        let mut trail = Vec::new();
        for step in 0.. {
            self.place_observers(&mut trail);
            let Some(urgent) = self.by_return.first().map(|rank| self.urgency[rank]) else {
                return Attempt::Decided(Decision::Explained);
            };
            if self.placed >= self.furthest.0 {
                self.furthest = (self.placed, urgent);
            }
            let hopeless = self.dead.contains(&self.set) || self.state.confirmed > self.sold_max();
            let choices = if hopeless { Vec::new() } else { self.choices(urgent) };
            if choices.is_empty() {
                self.weights[urgent] += 1;
            }
            frames.push(Frame { trail: std::mem::take(&mut trail), choices });
            let out_of_time = step % 256 == 255 && Instant::now() > deadline;
            if step > steps || self.dead.len() >= states || out_of_time {
                frames.into_iter().rev().for_each(|frame| self.leave(frame));
                return Attempt::GivenUp;
            }
            // Back to the last decision that has something left to try.
            loop {
                let Some(frame) = frames.last_mut() else {
                    return Attempt::Decided(Decision::Refuted(self.unexplained()));
                };
                if let Some(choice) = frame.choices.pop() {
                    trail.push(self.put(choice));
                    break;
                }
                self.dead.insert(self.set);
                if let Some(frame) = frames.pop() {
                    self.leave(frame);
                }
            }
        }
        Attempt::GivenUp
    }

    fn leave(&mut self, frame: Frame) {
        frame.trail.into_iter().rev().for_each(|undo| self.take_back(&undo));
    }

    /// No more than this may be sold yet: some read that is still to come shows it.
    fn sold_max(&self) -> i64 {
        let read = self.by_sold.first().map(|rank| self.history.ops[self.reads[rank]].act);
        match read {
            Some(Act::Read { confirmed: Some(sold), .. }) => sold,
            _ => i64::MAX,
        }
    }

    /// The instant by which the most urgent operation must have been placed: what is invoked later must come later.
    fn horizon(&self) -> u64 {
        self.by_return.first().map_or(u64::MAX, |rank| self.history.ops[self.urgency[rank]].returned_ns)
    }

    /// Places everything open that changes nothing and fits: its place is as good as any.
    fn place_observers(&mut self, trail: &mut Vec<Undo>) {
        loop {
            let horizon = self.horizon();
            let mut found = Vec::new();
            let mut next = self.by_invocation.first();
            while let Some(op) = next.filter(|op| self.history.ops[*op].invoked_ns <= horizon) {
                next = self.by_invocation.after(op);
                if self.history.ops[op].must && self.idle(op) {
                    found.push(op);
                }
            }
            if found.is_empty() {
                return;
            }
            trail.extend(found.into_iter().map(|op| self.put(op)));
        }
    }

    /// Whether an operation fits here and changes nothing.
    fn idle(&mut self, op: usize) -> bool {
        let op = &self.history.ops[op];
        let Some(hold) = op.act.changes() else { return self.history.step(&mut self.state, op) == Some(false) };
        let before = (self.state.holds[hold], self.state.held, self.state.confirmed);
        let step = self.history.step(&mut self.state, op);
        (self.state.holds[hold], self.state.held, self.state.confirmed) = before;
        step == Some(false)
    }

    fn put(&mut self, index: usize) -> Undo {
        let op = &self.history.ops[index];
        let changed =
            op.act.changes().map(|hold| (hold, self.state.holds[hold], self.state.held, self.state.confirmed));
        self.history.step(&mut self.state, op);
        self.by_invocation.remove(index);
        if op.must {
            self.by_return.remove(self.place[index]);
        }
        if self.sold_place[index] != usize::MAX {
            self.by_sold.remove(self.sold_place[index]);
        }
        self.set = self.set.wrapping_add(self.numbers[index]);
        self.placed += 1;
        Undo { op: index, changed }
    }

    fn take_back(&mut self, undo: &Undo) {
        self.placed -= 1;
        self.set = self.set.wrapping_sub(self.numbers[undo.op]);
        if self.sold_place[undo.op] != usize::MAX {
            self.by_sold.restore(self.sold_place[undo.op]);
        }
        if self.history.ops[undo.op].must {
            self.by_return.restore(self.place[undo.op]);
        }
        self.by_invocation.restore(undo.op);
        if let Some((hold, state, held, confirmed)) = undo.changed {
            self.state.holds[hold] = state;
            self.state.held = held;
            self.state.confirmed = confirmed;
        }
    }

    /// What may come next, the most promising last.
    fn choices(&mut self, urgent: usize) -> Vec<usize> {
        let horizon = self.horizon();
        let mut best: HashMap<usize, usize> = HashMap::new();
        let mut goal: Option<(Promise, usize)> = None;
        let mut next = self.by_invocation.first();
        while let Some(index) = next.filter(|op| self.history.ops[*op].invoked_ns <= horizon) {
            next = self.by_invocation.after(index);
            let op = self.history.ops[index];
            if op.act.changes().is_none() {
                let sold = if let Act::Read { confirmed: Some(sold), .. } = op.act { sold } else { i64::MAX };
                let key = (sold, std::cmp::Reverse(self.weights[index]), self.distance(&op));
                if goal.as_ref().is_none_or(|(known, _)| key < *known) {
                    goal = Some((key, index));
                }
                continue;
            }
            let chosen = best.entry(self.classes[index]).or_insert(index);
            if self.place[index] < self.place[*chosen] {
                *chosen = index;
            }
        }
        let goals = [goal.map_or(urgent, |(_, index)| index), urgent].map(|index| self.history.ops[index]);
        let now = goals.map(|goal| self.distance(&goal));
        let mut ranked: Vec<((u8, i64, usize), usize)> = Vec::with_capacity(best.len());
        for index in best.into_values() {
            let Some(undo) = self.put_if_it_fits(index) else { continue };
            let then = goals.map(|goal| self.distance(&goal));
            self.take_back(&undo);
            // Towards the goal; else what cannot wait; else towards that; else whatever may come. What need not have
            // happened at all comes last, and first among that what helps the one that cannot wait.
            let rank = match self.history.ops[index].must {
                true if then[0] < now[0] => (0, then[0]),
                true if index == urgent => (1, 0),
                true if then[1] < now[1] => (2, then[1]),
                true => (3, 0),
                false if then[1] < now[1] => (4, then[1]),
                false => (5, 0),
            };
            ranked.push(((rank.0, rank.1, self.place[index]), index));
        }
        ranked.sort_unstable_by(|one, other| other.cmp(one));
        ranked.into_iter().map(|(_, index)| index).collect()
    }

    fn put_if_it_fits(&mut self, index: usize) -> Option<Undo> {
        let op = self.history.ops[index];
        let hold = op.act.changes()?;
        let before = (self.state.holds[hold], self.state.held, self.state.confirmed);
        let step = self.history.step(&mut self.state, &op);
        (self.state.holds[hold], self.state.held, self.state.confirmed) = before;
        // Whatever fits without changing anything has been placed already; and what is sold cannot be unsold for a read.
        let sells = match op.act {
            Act::Confirm { hold, .. } | Act::ConfirmLate { hold } => self.history.holds[hold].quantity,
            _ => 0,
        };
        let unseen = self.state.confirmed + sells <= self.sold_max();
        (step == Some(true) && unseen).then(|| self.put(index))
    }

    /// How far the state is from what the goal needs: only a guide, which every order is free to ignore.
    fn distance(&self, goal: &Op) -> i64 {
        match goal.act {
            Act::TooFew { quantity } => (self.history.free(&self.state) - quantity + 1).max(0),
            Act::TooLate { hold, or } if self.state.holds[hold].meets(or) => 0,
            Act::TooLate { hold, .. } => {
                (self.history.free(&self.state) - self.history.holds[hold].quantity + 1).max(0)
            }
            // What is sold and what is taken: a confirm moves only the first, everything else only the second.
            Act::Read { available, held, confirmed, .. } => {
                let taken = self.state.held + self.state.confirmed;
                let wanted = available.map(|free| self.history.total - free).or_else(|| Some(held? + confirmed?));
                let off = |wanted: Option<i64>, is: i64| wanted.map_or(0, |wanted| (wanted - is).abs());
                off(wanted, taken) + off(confirmed, self.state.confirmed)
            }
            Act::Observe { hold, allowed } => i64::from(!self.state.holds[hold].meets(allowed)),
            Act::Reserve { hold } => {
                let wanted = self.state.held + self.state.confirmed + self.history.holds[hold].quantity;
                (wanted - self.history.total).max(0)
            }
            Act::Confirm { .. } | Act::ConfirmLate { .. } | Act::Cancel { .. } | Act::Lapse { .. } => 0,
        }
    }

    fn unexplained(&self) -> Violation {
        let op = &self.history.ops[self.furthest.1];
        let what = format!(
            "no order of the calls explains every answer: {} of {} operations can be put in order, then {} cannot be",
            self.furthest.0,
            self.history.ops.len(),
            told(self.history, op),
        );
        let kind = match op.act {
            Act::Reserve { .. } | Act::Confirm { .. } | Act::ConfirmLate { .. } => Breach::SoldTwice,
            Act::TooFew { .. } | Act::TooLate { .. } => Breach::RefusedAlthoughFree,
            Act::Cancel { .. } | Act::Lapse { .. } => Breach::GivenBackTwice,
            Act::Observe { .. } | Act::Read { .. } => Breach::ShowsWhatNeverWas,
        };
        Violation::new(Layer::Search, kind, what).at(op.returned_ns).shown_by(op.call)
    }
}

fn told(history: &ItemHistory, op: &Op) -> String {
    let of = |hold: usize| history.holds[hold].quantity;
    match op.act {
        Act::Reserve { hold } => format!("a reservation of {}", of(hold)),
        Act::Confirm { hold, .. } => format!("the confirm of a hold of {}", of(hold)),
        Act::ConfirmLate { hold } => format!("the late confirm of a hold of {}", of(hold)),
        Act::TooLate { hold, .. } => format!("the refusal of a late confirm of a hold of {}", of(hold)),
        Act::Cancel { hold, .. } => format!("the cancel of a hold of {}", of(hold)),
        Act::Lapse { hold } => format!("the lapse of a hold of {}", of(hold)),
        Act::TooFew { quantity } => format!("the refusal of a reservation of {quantity}"),
        Act::Observe { .. } => "what was said about a hold".to_owned(),
        Act::Read { available, .. } => format!("a read that showed {} available", available.unwrap_or_default()),
    }
}

/// Operations are interchangeable if swapping them moves nothing that an answer could show: same kind, same quantity, and
/// holds about which nothing else is said.
fn classes(history: &ItemHistory) -> Vec<usize> {
    #[derive(Default, Clone)]
    struct Life {
        made: usize,
        made_by_ns: u64,
        ended: usize,
        ended_from_ns: Option<u64>,
        uncertain: bool,
        observed: bool,
        lapses_from_ns: Option<u64>,
    }
    let mut lives = vec![Life::default(); history.holds.len()];
    for op in &history.ops {
        match op.act {
            Act::Reserve { hold } => {
                lives[hold].made += 1;
                lives[hold].made_by_ns = lives[hold].made_by_ns.max(op.returned_ns);
            }
            Act::Confirm { hold, .. } | Act::ConfirmLate { hold } | Act::Cancel { hold, .. } => {
                lives[hold].ended += 1;
                lives[hold].ended_from_ns = Some(op.invoked_ns);
                lives[hold].uncertain |= !op.must;
            }
            Act::Lapse { hold } => lives[hold].lapses_from_ns = Some(op.invoked_ns),
            Act::Observe { hold, .. } | Act::TooLate { hold, .. } => lives[hold].observed = true,
            Act::TooFew { .. } | Act::Read { .. } => {}
        }
    }
    // An end that was sent by the time its reserve returned makes that reserve more urgent than an equal one.
    let in_turn = |life: &Life| life.ended_from_ns.is_none_or(|from_ns| from_ns > life.made_by_ns);
    let plain = |life: &Life| life.made == 1 && life.ended <= 1 && !life.uncertain && !life.observed && in_turn(life);
    let mut known: HashMap<(u8, i64, bool), usize> = HashMap::new();
    let mut next = history.ops.len();
    let mut shared = |kind: u8, quantity: i64, must: bool| {
        *known.entry((kind, quantity, must)).or_insert_with(|| {
            next += 1;
            next
        })
    };
    let class = |(index, op): (usize, &Op)| {
        let (kind, hold) = match op.act {
            Act::Reserve { hold } => (0, hold),
            Act::Confirm { hold, .. } => (1, hold),
            Act::Cancel { hold, .. } => (2, hold),
            Act::Lapse { hold } => (3, hold),
            Act::ConfirmLate { .. }
            | Act::TooFew { .. }
            | Act::TooLate { .. }
            | Act::Observe { .. }
            | Act::Read { .. } => return index,
        };
        let life = &lives[hold];
        // A hold that can lapse while the operation is under way is told apart by when it does.
        let undisturbed = match kind {
            3 => life.ended == 0 && life.made_by_ns < op.invoked_ns,
            _ => life.lapses_from_ns.is_none_or(|from_ns| from_ns > op.returned_ns),
        };
        if plain(life) && undisturbed { shared(kind, history.holds[hold].quantity, op.must) } else { index }
    };
    history.ops.iter().enumerate().map(class).collect()
}

/// A list of 0..n from which elements are removed and, in the reverse order, restored (Knuth's dancing links).
struct Links {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Links {
    fn new(count: usize) -> Self {
        // The last place is the anchor, before the first and after the last.
        Links {
            next: (0..=count).map(|place| if place == count { 0 } else { place + 1 }).collect(),
            previous: (0..=count).map(|place| if place == 0 { count } else { place - 1 }).collect(),
        }
    }

    fn anchor(&self) -> usize {
        self.next.len() - 1
    }

    fn first(&self) -> Option<usize> {
        self.after(self.anchor())
    }

    fn after(&self, place: usize) -> Option<usize> {
        Some(self.next[place]).filter(|next| *next != self.anchor())
    }

    fn remove(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn restore(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        self.previous[after] = place;
    }
}
