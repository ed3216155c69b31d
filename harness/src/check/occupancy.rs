//! The first layer: which units were certainly taken, and which possibly, at every instant. Where even the certain ones
//! exceed the total, or even the possible ones leave room for a call that was refused, no order exists.

use crate::check::{
    model::{Act, ItemHistory, Op},
    verdict::Violation,
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
    let count = history.holds.len();
    let mut made = vec![(u64::MAX, u64::MAX); count];
    let mut first_release = vec![u64::MAX; count];
    let mut last_release = vec![u64::MAX; count];
    let mut confirm_possible = vec![false; count];
    let mut confirmed = vec![false; count];
    for op in &history.ops {
        match op.act {
            Act::Reserve { hold } => {
                made[hold].0 = made[hold].0.min(op.invoked_ns);
                made[hold].1 = made[hold].1.min(op.returned_ns);
            }
            Act::Confirm { hold } => {
                confirm_possible[hold] = true;
                confirmed[hold] |= op.must;
            }
            Act::Cancel { hold } | Act::Lapse { hold } => {
                first_release[hold] = first_release[hold].min(op.invoked_ns);
                last_release[hold] = last_release[hold].min(op.returned_ns);
            }
            Act::TooFew { .. } | Act::Observe { .. } | Act::Read { .. } => {}
        }
    }
    let span =
        |hold: usize, from_ns: u64, to_ns: u64| Span { hold, quantity: history.holds[hold].quantity, from_ns, to_ns };
    let certain = (0..count)
        .map(|hold| span(hold, made[hold].1, if confirmed[hold] { u64::MAX } else { first_release[hold] }))
        .filter(|span| span.from_ns < span.to_ns)
        .collect();
    let possible = (0..count)
        .map(|hold| span(hold, made[hold].0, if confirm_possible[hold] { u64::MAX } else { last_release[hold] }))
        .filter(|span| span.from_ns != u64::MAX)
        .collect();
    (certain, possible)
}

/// A refutation, if the spans alone give one.
pub fn refute(history: &ItemHistory) -> Option<Violation> {
    let (certain, possible) = spans(history);
    let least = Steps::new(&certain, false);
    if let Some((instant, taken)) = least.first_above(history.total) {
        return Some(oversold(history, &certain, instant, taken));
    }
    let most = Steps::new(&possible, true);
    history.ops.iter().find_map(|op| contradicts(history, op, &least, &most))
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
    Violation::new("sweep", what).at(instant).shown_by(calls)
}

fn contradicts(history: &ItemHistory, op: &Op, least: &Steps, most: &Steps) -> Option<Violation> {
    let total = history.total;
    let what = match op.act {
        Act::TooFew { quantity } => {
            let most = most.max(op.invoked_ns, op.returned_ns);
            (quantity <= total - most).then(|| {
                format!(
                    "a reservation of {quantity} was refused although at least {} units were free all the while",
                    total - most
                )
            })?
        }
        Act::Read { available: Some(shown), overdue, .. } => {
            let at_most = total - least.min(op.invoked_ns, op.returned_ns) + overdue;
            let at_least = total - most.max(op.invoked_ns, op.returned_ns);
            if shown > at_most {
                format!(
                    "the item showed {shown} available; at most {at_most} can have been, at any moment of that call"
                )
            } else if shown < at_least {
                format!(
                    "the item showed {shown} available; at least {at_least} must have been, at every moment of that call"
                )
            } else {
                return None;
            }
        }
        _ => return None,
    };
    Some(Violation::new("sweep", what).at(op.returned_ns).shown_by(op.call))
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
