//! Schedules: which calls meet on one item, in which order they stop at a gate, and when the deadline passes. A schedule is
//! a line of text that can be typed again.
//!
//! ```text
//! row 3 A1~ B1: confirmA,deadline,expire | reserve2
//! |   | |   |   |        |        |        '- a batch of its own: made when everything before has returned
//! |   | |   |   |        |        '- stops behind the confirm
//! |   | |   |   |        '- passes while the confirm waits
//! |   | |   |   '- stops at the gate
//! |   | |   '- B holds 1, and lives
//! |   | '- A holds 1, and lapses where the schedule says `deadline`
//! |   '- the item's total
//! '- what the gates lock: items, reservations, row, updated
//! ```

use std::{collections::BTreeMap, fmt};

use crate::{database::gate::Kind, history::Seed};

/// One step of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Reserve so many units.
    Reserve(i64),
    /// Confirm a staged hold, by its place.
    Confirm(usize),
    /// Cancel a staged hold.
    Cancel(usize),
    /// Sweep.
    Expire,
    /// The lapsing holds reach their deadline.
    Deadline,
}

/// A hold made before the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Staged {
    /// Its units.
    pub quantity: i64,
    /// Whether it lapses at the schedule's deadline.
    pub lapsing: bool,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Schedule {
    /// What the gates lock.
    pub gate: Kind,
    /// The item's units.
    pub total: i64,
    /// The holds on it: A, B, …
    pub holds: Vec<Staged>,
    /// Batches, one after the other. The calls of one batch stop at gates, in this order.
    pub batches: Vec<Vec<Step>>,
}

impl Schedule {
    /// How many calls it makes.
    pub fn calls(&self) -> usize {
        self.steps().filter(|step| **step != Step::Deadline).count()
    }

    /// Every step, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.batches.iter().flatten()
    }

    /// Whether a batch needs a gate: two calls in it, or a call with the deadline behind it.
    pub fn is_gated(batch: &[Step]) -> bool {
        batch.iter().skip_while(|step| **step == Step::Deadline).count() > 1
    }

    /// Reads a schedule as it is printed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (stage, batches) = text.split_once(':').ok_or("a schedule is `GATE TOTAL HOLDS: BATCH | BATCH`")?;
        let mut words = stage.split_whitespace();
        let gate = words.next().unwrap_or_default();
        let gate = Kind::of(gate).ok_or_else(|| {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
            format!("{gate:?} is no gate; there are {}", known.join(", "))
        })?;
        let total = words.next().unwrap_or_default();
        let total = total.parse().ok().filter(|total| *total > 0).ok_or_else(|| format!("{total:?} is no total"))?;
        let holds = words.enumerate().map(|(place, word)| staged(place, word)).collect::<Result<Vec<_>, _>>()?;
        let batches = batches
            .split('|')
            .map(|batch| batch.split(',').map(|word| step(word.trim(), holds.len())).collect())
            .collect::<Result<Vec<Vec<Step>>, String>>()?;
        let schedule = Schedule { gate, total, holds, batches };
        schedule.makes_sense().map(|()| schedule)
    }

    fn makes_sense(&self) -> Result<(), String> {
        let deadlines = self.steps().filter(|step| **step == Step::Deadline).count();
        let lapsing = self.holds.iter().any(|hold| hold.lapsing);
        match (deadlines, lapsing) {
            (0, true) => Err("a hold lapses (`~`), but the schedule has no `deadline`".to_owned()),
            (1.., false) => Err("the schedule has a `deadline`, but no hold lapses (`A1~`)".to_owned()),
            (2.., true) => Err("a deadline passes once".to_owned()),
            _ if self.holds.iter().map(|hold| hold.quantity).sum::<i64>() > self.total => {
                Err("the holds are more than the total".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn letter(place: usize) -> char {
    char::from(b'A' + u8::try_from(place % 26).unwrap_or_default())
}

fn staged(place: usize, word: &str) -> Result<Staged, String> {
    let wanted = letter(place);
    let read = || {
        let rest = word.strip_prefix(wanted)?;
        let (digits, lapsing) = rest.strip_suffix('~').map_or((rest, false), |digits| (digits, true));
        let quantity = digits.parse().ok().filter(|quantity| *quantity > 0)?;
        Some(Staged { quantity, lapsing })
    };
    read().ok_or_else(|| format!("{word:?} is no hold; the next one is `{wanted}1`, or `{wanted}1~` if it lapses"))
}

fn step(word: &str, holds: usize) -> Result<Step, String> {
    let hold = |name: &str| (0..holds).find(|place| name == letter(*place).to_string());
    let known = match word {
        "expire" => Some(Step::Expire),
        "deadline" => Some(Step::Deadline),
        _ => None,
    };
    known
        .or_else(|| Some(Step::Reserve(word.strip_prefix("reserve")?.parse().ok().filter(|quantity| *quantity > 0)?)))
        .or_else(|| Some(Step::Confirm(hold(word.strip_prefix("confirm")?)?)))
        .or_else(|| Some(Step::Cancel(hold(word.strip_prefix("cancel")?)?)))
        .ok_or_else(|| format!("{word:?} is no step; there are reserve2, confirmA, cancelA, expire, deadline"))
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Reserve(quantity) => write!(out, "reserve{quantity}"),
            Step::Confirm(hold) => write!(out, "confirm{}", letter(*hold)),
            Step::Cancel(hold) => write!(out, "cancel{}", letter(*hold)),
            Step::Expire => write!(out, "expire"),
            Step::Deadline => write!(out, "deadline"),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.gate.word(), self.total)?;
        for (place, hold) in self.holds.iter().enumerate() {
            write!(out, " {}{}{}", letter(place), hold.quantity, if hold.lapsing { "~" } else { "" })?;
        }
        for (index, batch) in self.batches.iter().enumerate() {
            let steps: Vec<String> = batch.iter().map(Step::to_string).collect();
            write!(out, "{}{}", if index == 0 { ": " } else { " | " }, steps.join(","))?;
        }
        Ok(())
    }
}

/// Every schedule of up to so many calls: those of few calls first, and among those of as many calls an order of the
/// seed's in which every part has its share of each kind, so that a few of them already reach across the deadline.
///
/// The stage is an item of 3 on which A and B hold one unit each. While both live, nothing tells them apart, so A is named
/// first; where A lapses, B is only there to lose a unit to whoever releases one twice.
pub fn schedules(calls_max: usize, seed: &Seed) -> Vec<Schedule> {
    let live =
        [Step::Reserve(1), Step::Reserve(2), Step::Confirm(0), Step::Cancel(0), Step::Confirm(1), Step::Cancel(1)];
    let lapsing = [Step::Reserve(1), Step::Reserve(2), Step::Confirm(0), Step::Cancel(0), Step::Expire];
    let mut all = Vec::new();
    for calls in 1..=calls_max {
        let mut here = Vec::new();
        for sequence in sequences(&live, calls).into_iter().filter(|sequence| names_a_first(sequence)) {
            for batches in compositions(&sequence) {
                staged_with(false, batches, &mut here);
            }
        }
        for sequence in sequences(&lapsing, calls) {
            for batches in compositions(&sequence).into_iter().flat_map(|batches| with_deadline(&batches)) {
                staged_with(true, batches, &mut here);
            }
        }
        all.extend(mixed(here, &mut seed.fork("schedules", calls as u64)));
    }
    all
}

/// Schedules of two calls with a confirm that meets the deadline: where a clock that was read before a lock, or a decision
/// that is committed later, shows most often.
pub fn deadline_schedules(seed: &Seed, count: usize) -> Vec<Schedule> {
    let meets = |schedule: &Schedule| {
        let steps = || schedule.steps();
        schedule.calls() == 2
            && steps().any(|step| *step == Step::Deadline)
            && steps().any(|step| matches!(step, Step::Confirm(_)))
            && steps().any(|step| matches!(step, Step::Reserve(_) | Step::Expire | Step::Cancel(_)))
    };
    let mut chosen: Vec<Schedule> = schedules(2, seed).into_iter().filter(meets).collect();
    chosen.truncate(count);
    chosen
}

/// The same schedules in an order of the seed's, of which every part has its share of each kind: with a deadline or
/// without, at each gate, calls that meet and calls that do not. So each stands at the place in the whole that it has
/// among its kind.
fn mixed(schedules: Vec<Schedule>, seed: &mut Seed) -> Vec<Schedule> {
    let mut kinds: BTreeMap<_, Vec<Schedule>> = BTreeMap::new();
    for schedule in schedules {
        let lapsing = schedule.holds.iter().any(|hold| hold.lapsing);
        kinds.entry((lapsing, schedule.gate, schedule.batches.len())).or_default().push(schedule);
    }
    let mut placed = Vec::new();
    for mut kind in kinds.into_values() {
        seed.shuffle(&mut kind);
        let count = kind.len() as u64;
        placed.extend((0..).zip(kind).map(|(place, schedule)| (((2 * place + 1) << 32) / count, schedule)));
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, schedule)| schedule).collect()
}

fn sequences(alphabet: &[Step], calls: usize) -> Vec<Vec<Step>> {
    (0..calls).fold(vec![Vec::new()], |shorter, _| {
        let longer = |sequence: &Vec<Step>, step: Step| sequence.iter().copied().chain([step]).collect();
        shorter.iter().flat_map(|sequence| alphabet.iter().map(|step| longer(sequence, *step))).collect()
    })
}

fn names_a_first(sequence: &[Step]) -> bool {
    let named = sequence.iter().find_map(|step| match step {
        Step::Confirm(hold) | Step::Cancel(hold) => Some(*hold),
        _ => None,
    });
    named != Some(1)
}

/// Every way to cut a sequence into batches.
fn compositions(sequence: &[Step]) -> Vec<Vec<Vec<Step>>> {
    let cuts = sequence.len().saturating_sub(1);
    let cut = |mask: usize| {
        let mut batches = vec![Vec::new()];
        for (place, step) in sequence.iter().enumerate() {
            if place > 0 && mask & (1 << (place - 1)) != 0 {
                batches.push(Vec::new());
            }
            if let Some(batch) = batches.last_mut() {
                batch.push(*step);
            }
        }
        batches
    };
    (0..1 << cuts).map(cut).collect()
}

/// The same batches with the deadline at every place where it can matter: before a batch, and behind each call of one.
fn with_deadline(batches: &[Vec<Step>]) -> Vec<Vec<Vec<Step>>> {
    let mut placed = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let mut between = batches.to_vec();
        between.insert(index, vec![Step::Deadline]);
        placed.push(between);
        for place in 1..=batch.len() {
            let mut within = batches.to_vec();
            within[index].insert(place, Step::Deadline);
            placed.push(within);
        }
    }
    placed
}

/// One schedule for each kind of gate that tells something else about these batches.
fn staged_with(lapsing: bool, batches: Vec<Vec<Step>>, all: &mut Vec<Schedule>) {
    let holds = vec![Staged { quantity: 1, lapsing }, Staged { quantity: 1, lapsing: false }];
    let widest = batches.iter().map(|batch| batch.iter().filter(|step| **step != Step::Deadline).count()).max();
    let gated = batches.iter().any(|batch| Schedule::is_gated(batch));
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.ordered_max() >= widest.unwrap_or(0));
    let at_writes = batches.len() == 1 && batches[0].last() != Some(&Step::Deadline);
    // Where nothing stops at a gate, one kind is as good as another. What stops before its first write to the
    // reservations has mostly passed the item by then: one such gate is enough, with the deadline between its calls or
    // without one. (A confirm that has read its hold, but not locked the item, writes after the next customer has counted
    // the unit as free.)
    let kinds =
        kinds.filter(|kind| if gated { *kind != Kind::Reservations || at_writes } else { *kind == Kind::Items });
    all.extend(kinds.map(|gate| Schedule { gate, total: 3, holds: holds.clone(), batches: batches.clone() }));
}

/// Smaller schedules that may fail in the same way: a call less, two batches in one, fewer units.
pub fn smaller(schedule: &Schedule) -> Vec<Schedule> {
    let mut candidates = Vec::new();
    for (index, batch) in schedule.batches.iter().enumerate() {
        for place in 0..batch.len() {
            let mut fewer = schedule.clone();
            fewer.batches[index].remove(place);
            fewer.batches.retain(|batch| !batch.is_empty());
            candidates.push(fewer);
        }
        if index > 0 {
            let mut merged = schedule.clone();
            let moved = merged.batches.remove(index);
            merged.batches[index - 1].extend(moved);
            candidates.push(merged);
        }
    }
    let named = |place: usize| {
        schedule.steps().any(|step| matches!(step, Step::Confirm(hold) | Step::Cancel(hold) if *hold == place))
    };
    if let Some(last) = schedule.holds.len().checked_sub(1).filter(|last| !named(*last)) {
        let mut fewer = schedule.clone();
        fewer.holds.truncate(last);
        candidates.push(fewer.clone());
        candidates.push(Schedule { total: schedule.total - schedule.holds[last].quantity, ..fewer });
    }
    if schedule.total > 1 {
        candidates.push(Schedule { total: schedule.total - 1, ..schedule.clone() });
    }
    candidates.retain(|candidate| candidate.total > 0 && candidate.calls() > 0 && candidate.makes_sense().is_ok());
    candidates
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_is_printed() -> Result<(), String> {
        for text in
            ["row 3 A1~ B1: confirmA,deadline,expire | reserve2", "items 1: reserve1,reserve1", "updated 2 A2: cancelA"]
        {
            assert_eq!(Schedule::parse(text)?.to_string(), text);
        }
        for schedule in schedules(3, &Seed::new(1)) {
            assert_eq!(Schedule::parse(&schedule.to_string())?, schedule);
        }
        Ok(())
    }

    #[test]
    fn what_is_no_schedule_is_told_by_its_word() {
        for (text, told) in [
            ("row 3 A1", "GATE TOTAL"),
            ("door 3: expire", "door"),
            ("row none: expire", "none"),
            ("row 3 B1: expire", "B1"),
            ("row 3 A1: confirmB", "confirmB"),
            ("row 3 A1~: confirmA", "no `deadline`"),
            ("row 3 A1: confirmA,deadline", "no hold lapses"),
            ("row 1 A2: confirmA", "more than the total"),
        ] {
            let error = Schedule::parse(text).err().unwrap_or_default();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn all_orders_of_all_multisets_are_there_once() {
        let all = schedules(3, &Seed::new(1));
        let different: BTreeSet<&Schedule> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        let parked: BTreeSet<Vec<Step>> = all
            .iter()
            .filter(|schedule| {
                schedule.gate == Kind::Items && schedule.batches.len() == 1 && !schedule.holds[0].lapsing
            })
            .map(|schedule| schedule.batches[0].clone())
            .collect();
        for sequence in ["reserve1,reserve1,cancelA", "reserve1,cancelA,reserve1", "cancelA,reserve1,reserve1"] {
            let steps: Vec<Step> = sequence.split(',').filter_map(|word| step(word, 2).ok()).collect();
            assert!(parked.contains(&steps), "{sequence} is missing");
        }
        assert!(all.iter().filter(|schedule| schedule.calls() <= 2).count() > 400);
    }

    #[test]
    fn a_few_schedules_reach_every_kind_of_pair() {
        for seed in 0..100 {
            let few = &schedules(3, &Seed::new(seed))[..60];
            assert!(few.is_sorted_by_key(Schedule::calls), "few calls come first");
            let pairs = || few.iter().filter(|schedule| schedule.calls() == 2);
            let (lapsing, live): (Vec<&Schedule>, Vec<_>) = pairs().partition(|schedule| schedule.holds[0].lapsing);
            assert!(lapsing.len() >= 10 && live.len() >= 3, "{} lapse, {} live", lapsing.len(), live.len());
            for kind in Kind::ALL {
                assert!(pairs().any(|schedule| schedule.gate == kind), "no pair stops at {kind:?}");
            }
        }
    }

    #[test]
    fn every_part_has_its_share_of_what_lapses() {
        let pairs: Vec<bool> = schedules(2, &Seed::new(1))
            .iter()
            .filter(|schedule| schedule.calls() == 2)
            .map(|schedule| schedule.holds[0].lapsing)
            .collect();
        let share = |part: &[bool]| part.iter().filter(|lapsing| **lapsing).count() as f64 / part.len() as f64;
        for part in pairs.chunks_exact(40) {
            assert!((share(part) - share(&pairs)).abs() < 0.15, "{} of {}", share(part), share(&pairs));
        }
    }

    #[test]
    fn the_deadline_passes_while_a_confirm_stops_before_its_write() -> Result<(), String> {
        let wanted = Schedule::parse("reservations 3 A1~ B1: confirmA,deadline,reserve2")?;
        let pairs = schedules(2, &Seed::new(1));
        assert!(pairs.contains(&wanted));
        assert!(pairs.len() <= 600, "an exploration plays all of them unless it is told otherwise");
        Ok(())
    }

    #[test]
    fn a_smaller_schedule_is_smaller_and_makes_sense() -> Result<(), String> {
        let schedule = Schedule::parse("row 3 A1~ B1: confirmA,deadline,expire | reserve2")?;
        let smaller = smaller(&schedule);
        assert!(smaller.iter().any(|smaller| smaller.to_string() == "row 3 A1~: confirmA,deadline,expire | reserve2"));
        assert!(smaller.iter().all(|candidate| Schedule::parse(&candidate.to_string()).as_ref() == Ok(candidate)));
        Ok(())
    }
}
