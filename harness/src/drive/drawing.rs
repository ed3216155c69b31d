//! What one round looked like, as plain data: its calls in lanes, and how many units were certainly and how many were
//! possibly taken at every moment. Whoever draws it knows nothing of calls and models.

use std::{cmp::Reverse, collections::BTreeMap, collections::BinaryHeap};

use crate::{
    check::{by_item::by_item, occupancy, verdict::Violation},
    history::{Call, Contract, Moved, Outcome, Request, Struck, subject, told},
};

/// With more clients than this, several share a lane: thinner lanes could not be told apart.
const LANES_MAX: usize = 240;
/// More calls than this are thinned out, the marked ones never.
const BARS_MAX: usize = 40_000;

/// One round, to be drawn. Times are in microseconds since its first call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// Which round, from 1.
    pub round: u32,
    /// The item's name for itself.
    pub item: String,
    /// All its units.
    pub total: i64,
    /// When the first call left, on the run's clock.
    pub from_ns: u64,
    /// From there to the last return.
    pub span_us: u64,
    /// The part worth looking at first: the race, and the calls that show a violation.
    pub focus_us: (u64, u64),
    /// When the violation was.
    pub instant_us: Option<u64>,
    /// How many lanes there are.
    pub lanes: usize,
    /// Whether a lane is more than one client.
    pub packed: bool,
    /// The calls, by invocation.
    pub bars: Vec<Bar>,
    /// How many calls there were; more than `bars` holds where they were thinned out.
    pub calls: usize,
    /// When something changed, and the units certainly and possibly taken from then on.
    pub band: Vec<(u64, i64, i64)>,
    /// What was made to fail on purpose: in words, from when, until when.
    pub faults: Vec<(String, u64, u64)>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// From 0.
    pub lane: usize,
    /// When it was invoked.
    pub from_us: u64,
    /// When it returned, or the end where it never did.
    pub to_us: u64,
    /// Which virtual client.
    pub client: u32,
    /// Which instance, from 0.
    pub instance: u32,
    /// What was asked.
    pub verb: &'static str,
    /// Of what.
    pub subject: String,
    /// What came back.
    pub answer: String,
    /// What it came to.
    pub kind: Kind,
    /// Whether it shows the violation.
    pub marked: bool,
    /// Units taken, where it is a read that says so.
    pub taken: Option<i64>,
}

/// What a call came to, as far as a drawing tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changed something.
    Done,
    /// It was refused.
    Refused,
    /// It looked.
    Read,
    /// Nobody knows.
    Unknown,
}

impl Drawing {
    /// Draws the calls that concern one item. The focus is given on the run's clock.
    pub fn of(
        calls: &[Call],
        contract: Contract,
        moved: &Moved,
        focus_ns: Option<(u64, u64)>,
        violation: Option<&Violation>,
    ) -> Option<Self> {
        let drawn = || calls.iter().filter(|call| !matches!(call.request, Request::CreateItem { .. }));
        let from_ns = drawn().map(|call| call.invoked_ns).min()?;
        let end_ns = drawn().map(|call| call.returned_ns.unwrap_or(call.invoked_ns)).max()?;
        let us = |ns: u64| ns.clamp(from_ns, end_ns).saturating_sub(from_ns) / 1_000;
        let history = by_item(calls, contract, moved).into_iter().next();
        let total = history.as_ref().map_or(0, |history| history.total);
        let marked = |call: &Call| violation.is_some_and(|violation| violation.calls.contains(&call.id));
        let mut bars: Vec<Bar> = drawn()
            .map(|call| Bar {
                lane: 0,
                from_us: us(call.invoked_ns),
                to_us: us(call.returned_ns.unwrap_or(end_ns)),
                client: call.client,
                instance: call.instance,
                verb: call.request.verb(),
                subject: subject(call),
                answer: told(&call.outcome, call.status),
                kind: Kind::of(call),
                marked: marked(call),
                taken: call.outcome.item().and_then(|item| total.checked_sub(item.available?)),
            })
            .collect();
        bars.sort_by_key(|bar| (bar.from_us, bar.client));
        let calls = bars.len();
        thin_out(&mut bars);
        let (lanes, packed) = lanes(&mut bars);
        let instant = violation.and_then(|violation| violation.instant_ns);
        let shown = bars.iter().filter(|bar| bar.marked);
        let focus = shown
            .map(|bar| (bar.from_us, bar.to_us))
            .chain(instant.map(|at| (us(at), us(at))))
            .chain(focus_ns.map(|(from, to)| (us(from), us(to))))
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        Some(Drawing {
            round: 1,
            item: history.as_ref().map(|history| history.item.clone()).unwrap_or_default(),
            total,
            from_ns,
            span_us: us(end_ns).max(1),
            focus_us: focus.unwrap_or((0, us(end_ns).max(1))),
            instant_us: instant.map(us),
            lanes,
            packed,
            bars,
            calls,
            band: history.map_or_else(Vec::new, |history| band(&occupancy::spans(&history), us)),
            faults: Vec::new(),
        })
    }

    /// The same, with what was made to fail.
    #[must_use]
    pub fn struck(mut self, struck: &[Struck]) -> Self {
        let us = |ns: u64| (ns.saturating_sub(self.from_ns) / 1_000).min(self.span_us);
        let end_ns = self.from_ns + self.span_us * 1_000;
        let meets = |struck: &&Struck| struck.from_ns <= end_ns && struck.to_ns >= self.from_ns;
        self.faults =
            struck.iter().filter(meets).map(|struck| (struck.told(), us(struck.from_ns), us(struck.to_ns))).collect();
        self
    }

    /// How many calls were under way in each of so many equal parts of the round, and whether a marked one was.
    pub fn density(&self, parts: usize) -> Vec<(usize, bool)> {
        let parts = parts.max(1);
        let part = |us: u64| (us as f64 / self.span_us as f64 * parts as f64) as usize;
        // Each step is a difference to the part before: one pass adds them up.
        let mut steps = vec![(0_isize, 0_isize); parts + 1];
        for bar in &self.bars {
            let (first, last) = (part(bar.from_us).min(parts - 1), part(bar.to_us).min(parts - 1));
            let marked = isize::from(bar.marked);
            steps[first] = (steps[first].0 + 1, steps[first].1 + marked);
            steps[last + 1] = (steps[last + 1].0 - 1, steps[last + 1].1 - marked);
        }
        let mut sum = (0, 0);
        let add = |step: &(isize, isize)| {
            sum = (sum.0 + step.0, sum.1 + step.1);
            (usize::try_from(sum.0).unwrap_or_default(), sum.1 > 0)
        };
        steps.iter().take(parts).map(add).collect()
    }
}

impl Kind {
    fn of(call: &Call) -> Self {
        match (&call.outcome, &call.request) {
            (Outcome::Ok(_), Request::GetItem { .. } | Request::GetReservation { .. }) => Kind::Read,
            (Outcome::Ok(_), _) => Kind::Done,
            (Outcome::Refused(_), _) => Kind::Refused,
            (Outcome::Unknown(_), _) => Kind::Unknown,
        }
    }
}

/// Keeps every marked call and, evenly, as many of the others as can be drawn.
fn thin_out(bars: &mut Vec<Bar>) {
    if bars.len() <= BARS_MAX {
        return;
    }
    let plain = bars.iter().filter(|bar| !bar.marked).count();
    let wanted = BARS_MAX.saturating_sub(bars.len() - plain);
    let mut seen = 0;
    bars.retain(|bar| {
        if bar.marked {
            return true;
        }
        seen += 1;
        seen * wanted / plain != (seen - 1) * wanted / plain
    });
}

/// One lane a client in the order of their numbers; where there are too many, any lane that is free again.
fn lanes(bars: &mut [Bar]) -> (usize, bool) {
    let clients: BTreeMap<u32, usize> = bars.iter().map(|bar| (bar.client, 0)).collect();
    if clients.len() <= LANES_MAX {
        let lane: BTreeMap<u32, usize> = clients.into_keys().zip(0..).collect();
        bars.iter_mut().for_each(|bar| bar.lane = lane.get(&bar.client).copied().unwrap_or_default());
        return (lane.len(), false);
    }
    let mut free: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut count = 0;
    for bar in bars.iter_mut() {
        bar.lane = match free.peek() {
            Some(Reverse((until_us, lane))) if *until_us <= bar.from_us => *lane,
            _ => count,
        };
        if bar.lane == count {
            count += 1;
        } else {
            free.pop();
        }
        free.push(Reverse((bar.to_us, bar.lane)));
    }
    (count, true)
}

fn band(
    (certain, possible): &(Vec<occupancy::Span>, Vec<occupancy::Span>),
    us: impl Fn(u64) -> u64,
) -> Vec<(u64, i64, i64)> {
    let mut steps: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    for (spans, certain) in [(certain, true), (possible, false)] {
        for span in spans {
            for (at_ns, quantity) in [(span.from_ns, span.quantity), (span.to_ns, -span.quantity)] {
                if at_ns != u64::MAX {
                    let step = steps.entry(us(at_ns)).or_default();
                    let sum = if certain { &mut step.0 } else { &mut step.1 };
                    *sum = sum.saturating_add(quantity);
                }
            }
        }
    }
    let mut sums = (0_i64, 0_i64);
    let add = |(at_us, step): (u64, (i64, i64))| {
        sums = (sums.0.saturating_add(step.0), sums.1.saturating_add(step.1));
        (at_us, sums.0, sums.1)
    };
    steps.into_iter().map(add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(client: u32, from_us: u64, to_us: u64, marked: bool) -> Bar {
        Bar {
            lane: 0,
            from_us,
            to_us,
            client,
            instance: 0,
            verb: "reserve",
            subject: String::new(),
            answer: String::new(),
            kind: Kind::Done,
            marked,
            taken: None,
        }
    }

    #[test]
    fn a_client_keeps_its_lane_and_lanes_follow_the_clients_numbers() {
        let mut bars = vec![bar(7, 0, 10, false), bar(3, 1, 4, false), bar(7, 11, 12, false)];
        assert_eq!(lanes(&mut bars), (2, false));
        assert_eq!(bars.iter().map(|bar| bar.lane).collect::<Vec<_>>(), [1, 0, 1]);
    }

    #[test]
    fn too_many_clients_share_lanes_and_no_two_calls_of_a_lane_overlap() {
        let mut bars: Vec<Bar> = (0..1_000).map(|n| bar(n, u64::from(n), u64::from(n) + 7, false)).collect();
        assert_eq!(lanes(&mut bars), (7, true));
        for (index, one) in bars.iter().enumerate() {
            let meets = |other: &Bar| other.lane == one.lane && other.from_us < one.to_us;
            assert!(!bars[index + 1..].iter().any(meets), "{one:?}");
        }
    }

    #[test]
    fn a_marked_call_is_never_thinned_out() {
        let count = BARS_MAX as u64 + 10_000;
        let mut bars: Vec<Bar> = (0..count).map(|n| bar(0, n, n + 1, n % 1_000 == 999)).collect();
        thin_out(&mut bars);
        assert_eq!(bars.len(), BARS_MAX);
        assert_eq!(bars.iter().filter(|bar| bar.marked).count(), 50);
        // What stays is spread evenly over the whole.
        assert!(bars.iter().filter(|bar| bar.from_us < count / 2).count().abs_diff(BARS_MAX / 2) < 10);
    }
}
