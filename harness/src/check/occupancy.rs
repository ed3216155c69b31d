//! The first layer: which units were certainly taken, and which possibly, at every instant. Where even the certain ones
//! exceed the total, or even the possible ones leave room for a call that was refused, no order exists.

use crate::check::{
    model::{Act, ItemHistory, Op},
    verdict::{Breach, Layer, Violation},
};

/// From when to when a hold's units were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Index of the hold.
    pub hold: usize,
    /// Its units.
    pub quantity: i64,
    /// From this instant.
    pub from_ns: u64,
    /// Up to this one.
    pub to_ns: u64,
}

/// Certain spans and possible spans.
pub fn spans(history: &ItemHistory) -> (Vec<Span>, Vec<Span>) {
    let lives = lives(history);
    let mut certain = Vec::with_capacity(lives.len());
    let mut possible = Vec::with_capacity(lives.len());
    for (hold, life) in lives.iter().enumerate() {
        let quantity = history.holds[hold].quantity;
        let add = |spans: &mut Vec<Span>, from_ns: u64, to_ns: u64| {
            if from_ns < to_ns {
                spans.push(Span { hold, quantity, from_ns, to_ns });
            }
        };
        if life.confirmed {
            add(&mut certain, life.made.1, u64::MAX);
        } else {
            add(&mut certain, life.made.1, life.first_release);
            // Between a lapse and a late confirm the units may have been free.
            add(&mut certain, life.taken_anew.max(life.made.1).max(life.first_release), u64::MAX);
        }
        // Made and released at one instant of the clock, its units were taken for a moment.
        let to_ns = if life.confirm_possible { u64::MAX } else { life.last_release };
        if life.made.0 <= to_ns {
            possible.push(Span { hold, quantity, from_ns: life.made.0, to_ns });
        }
    }
    (certain, possible)
}

/// When one hold can have been made and released.
#[derive(Clone, Copy)]
struct Life {
    /// Not before, and certainly by.
    made: (u64, u64),
    first_release: u64,
    last_release: u64,
    confirm_possible: bool,
    /// A confirm of the hold as it was, without a moment in which its units were free.
    confirmed: bool,
    /// Certainly sold by then, by a confirm that may have taken the units anew.
    taken_anew: u64,
    /// Certainly sold by then, by any confirm.
    sold_by: u64,
}

fn lives(history: &ItemHistory) -> Vec<Life> {
    let unmade = Life {
        made: (u64::MAX, u64::MAX),
        first_release: u64::MAX,
        last_release: u64::MAX,
        confirm_possible: false,
        confirmed: false,
        taken_anew: u64::MAX,
        sold_by: u64::MAX,
    };
    let mut lives = vec![unmade; history.holds.len()];
    for op in &history.ops {
        let Some(hold) = op.act.changes() else { continue };
        let life = &mut lives[hold];
        match op.act {
            Act::Reserve { .. } => {
                life.made = (life.made.0.min(op.invoked_ns), life.made.1.min(op.returned_ns));
            }
            Act::Confirm { .. } => {
                life.confirm_possible = true;
                life.confirmed |= op.must;
                life.sold_by = life.sold_by.min(if op.must { op.returned_ns } else { u64::MAX });
            }
            Act::ConfirmLate { .. } => {
                life.confirm_possible = true;
                if op.must {
                    life.taken_anew = life.taken_anew.min(op.returned_ns);
                    life.sold_by = life.sold_by.min(op.returned_ns);
                }
            }
            _ => {
                life.first_release = life.first_release.min(op.invoked_ns);
                life.last_release = life.last_release.min(op.returned_ns);
            }
        }
    }
    lives
}

/// What the spans alone refute: more units taken than there are, a refusal of units that were free, a read that no moment
/// of its call explains. The first of each.
pub fn refute(history: &ItemHistory) -> Vec<Violation> {
    let (certain, possible) = spans(history);
    let least = Steps::new(&certain, false);
    let oversold = least.first_above(history.total).map(|(at, taken)| oversold(history, &certain, at, taken));
    let most = Steps::new(&possible, true);
    let too_few = history.ops.iter().find_map(|op| refused_although_free(history, op, &most));
    let least = Steps::new(&shown(history), false);
    let read = history.ops.iter().find_map(|op| never_was(history, op, &least, &most));
    oversold.into_iter().chain(too_few).chain(read).collect()
}

/// The certain spans as reads show them: a confirm that was decided before the deadline and is committed after it is seen
/// as a lapsed hold in between.
fn shown(history: &ItemHistory) -> Vec<Span> {
    let mut spans = Vec::new();
    for (hold, life) in lives(history).iter().enumerate() {
        let quantity = history.holds[hold].quantity;
        let again_ns = life.sold_by.max(life.made.1).max(life.first_release);
        for (from_ns, to_ns) in [(life.made.1, life.first_release), (again_ns, u64::MAX)] {
            if from_ns < to_ns {
                spans.push(Span { hold, quantity, from_ns, to_ns });
            }
        }
    }
    spans
}

fn oversold(history: &ItemHistory, certain: &[Span], instant: u64, taken: i64) -> Violation {
    let alive: Vec<usize> =
        certain.iter().filter(|span| span.from_ns <= instant && instant < span.to_ns).map(|span| span.hold).collect();
    let calls = history.ops.iter().filter_map(|op| match op.act {
        Act::Reserve { hold } if alive.contains(&hold) && op.must => op.call,
        _ => None,
    });
    let what = format!(
        "{taken} units of {} were taken at once, in {} holds, each of which its caller had been promised and none of \
         which could have ended yet",
        history.total,
        alive.len()
    );
    Violation::new(Layer::Occupancy, Breach::SoldTwice, what).at(instant).shown_by(calls)
}

fn refused_although_free(history: &ItemHistory, op: &Op, most: &Steps) -> Option<Violation> {
    let Act::TooFew { quantity } = op.act else { return None };
    let free = history.total - most.max(op.invoked_ns, op.returned_ns);
    (quantity <= free).then(|| {
        let what =
            format!("a reservation of {quantity} was refused although at least {free} units were free all the while");
        Violation::new(Layer::Occupancy, Breach::RefusedAlthoughFree, what).at(op.returned_ns).shown_by(op.call)
    })
}

fn never_was(history: &ItemHistory, op: &Op, least: &Steps, most: &Steps) -> Option<Violation> {
    let Act::Read { available: Some(shown), .. } = op.act else { return None };
    let at_most = history.total - least.min(op.invoked_ns, op.returned_ns);
    let at_least = history.total - most.max(op.invoked_ns, op.returned_ns);
    let what = if shown > at_most {
        format!("the item showed {shown} available; at most {at_most} can have been, at any moment of that call")
    } else if shown < at_least {
        format!("the item showed {shown} available; at least {at_least} must have been, at every moment of that call")
    } else {
        return None;
    };
    Some(Violation::new(Layer::Occupancy, Breach::ShowsWhatNeverWas, what).at(op.returned_ns).shown_by(op.call))
}

/// A sum over time, as steps, with the extremes of any stretch.
struct Steps {
    /// When the sum changes; the first step is at 0.
    at_ns: Vec<u64>,
    /// Extremes over 2^level steps from each one.
    max: Vec<Vec<i64>>,
    min: Vec<Vec<i64>>,
}

impl Steps {
    /// At one instant, what begins comes before what ends if `wide`, and after it otherwise: in doubt, the possible is
    /// wide and the certain is narrow.
    fn new(spans: &[Span], wide: bool) -> Self {
        let mut edges: Vec<(u64, bool, i64)> = Vec::with_capacity(2 * spans.len());
        for span in spans {
            edges.push((span.from_ns, !wide, span.quantity));
            if span.to_ns != u64::MAX {
                edges.push((span.to_ns, wide, -span.quantity));
            }
        }
        edges.sort_unstable_by_key(|(at_ns, later, _)| (*at_ns, *later));
        let mut at_ns = vec![0];
        let mut sums = vec![0];
        let mut sum = 0;
        for (at, _, quantity) in edges {
            sum += quantity;
            at_ns.push(at);
            sums.push(sum);
        }
        Steps { max: table(&sums, i64::max), min: table(&sums, i64::min), at_ns }
    }

    fn first_above(&self, total: i64) -> Option<(u64, i64)> {
        let sums = self.max.first()?;
        let step = sums.iter().position(|sum| *sum > total)?;
        Some((self.at_ns[step], sums[step]))
    }

    /// The steps that reach into a stretch: the last one before it, and all in it. Both ends belong to it.
    fn stretch(&self, from_ns: u64, to_ns: u64) -> (usize, usize) {
        // One more at the front where steps share the first instant: each of them was reached at that instant.
        let first = self.at_ns.partition_point(|at| *at < from_ns).saturating_sub(1);
        let end = self.at_ns.partition_point(|at| *at <= to_ns);
        (first, end.max(first + 1))
    }

    fn max(&self, from_ns: u64, to_ns: u64) -> i64 {
        let (first, end) = self.stretch(from_ns, to_ns);
        extreme(&self.max, first, end, i64::max)
    }

    fn min(&self, from_ns: u64, to_ns: u64) -> i64 {
        let (first, end) = self.stretch(from_ns, to_ns);
        extreme(&self.min, first, end, i64::min)
    }
}

fn table(sums: &[i64], choose: fn(i64, i64) -> i64) -> Vec<Vec<i64>> {
    let mut levels = vec![sums.to_vec()];
    let mut width = 1;
    while 2 * width <= sums.len() {
        let below = &levels[levels.len() - 1];
        let level = (0..=sums.len() - 2 * width).map(|start| choose(below[start], below[start + width])).collect();
        levels.push(level);
        width *= 2;
    }
    levels
}

fn extreme(levels: &[Vec<i64>], first: usize, end: usize, choose: fn(i64, i64) -> i64) -> i64 {
    let level = (end - first).ilog2() as usize;
    choose(levels[level][first], levels[level][end - (1 << level)])
}
