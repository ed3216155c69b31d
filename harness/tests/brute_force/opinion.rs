//! A second opinion on one item's history: its own reading of what each answer claims, its own item, and every order of
//! effects tried. It takes calls and a contract, and shares nothing with the check that it is compared with.

use std::collections::HashSet;

use stockhold_harness::internal::{
    check::Verdict,
    history::{Answer, Call, Contract, Moved, Outcome, Reason, Request, ReservationView, Status},
};

/// Where the deadline of a hold is not known, the hold lives this long at least.
const LIFE_MIN_NS: u64 = 1_000_000_000;
const NEVER: u64 = u64::MAX;

/// What the history of one item comes to.
pub fn verdict(calls: &[Call], contract: Contract, moved: &Moved) -> Verdict {
    let Some(story) = Story::of(calls, contract, moved) else { return Verdict::Broken };
    if !story.explained(&story.effects) {
        return Verdict::Broken;
    }
    let open = |lost: &usize| !story.told(calls, *lost) && story.happened(*lost) && story.never_happened(*lost);
    let lost: Vec<usize> = (0..story.effects.len()).filter(|effect| story.effects[*effect].is_lost()).collect();
    if lost.iter().any(open) { Verdict::Undecided } else { Verdict::Held }
}

/// Where a hold stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Is {
    Absent,
    Held,
    Sold,
    GivenBack,
    Lapsed,
}

const ENDED: [Is; 3] = [Is::Sold, Is::GivenBack, Is::Lapsed];

#[derive(Clone, Debug)]
enum Deed {
    Reserve(usize),
    Confirm(usize),
    ConfirmLate(usize),
    Cancel(usize),
    Lapse(usize),
    /// Fewer than this many units were free.
    NoRoom(i64),
    /// A lapsed hold found too few free units to come back; or it was in one of these states.
    NoRoomAgain(usize, Vec<Is>),
    Said(Said),
    Counted([Option<i64>; 3]),
}

/// A claim about one hold.
#[derive(Clone, Debug)]
struct Said {
    hold: usize,
    any_of: Vec<Is>,
    /// Also true of a hold that is held while its deadline has passed.
    or_overdue: bool,
    /// It is what a read of the reservation shows.
    read: Option<Status>,
}

/// Something that took effect, or was true, at one moment between two instants.
#[derive(Clone, Debug)]
struct Effect {
    from_ns: u64,
    to_ns: u64,
    sure: bool,
    /// Its answer was lost: where it is supposed to have happened, it did something.
    lost: bool,
    /// Index of the call; none for a deadline.
    call: Option<usize>,
    deed: Deed,
}

impl Effect {
    fn is_lost(&self) -> bool {
        self.lost
    }
}

#[derive(Clone, Debug)]
struct Hold {
    id: Option<String>,
    key: Option<String>,
    units: i64,
    sent_ns: u64,
    /// Not before, not after, rounding included.
    deadline: Option<(u64, u64)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Now {
    held: i64,
    sold: i64,
    /// Of each hold: where it stands, by when its deadline had passed for certain, whether a read showed it expired, and the
    /// fewest units that were free since it lapsed.
    holds: Vec<(Is, u64, bool, i64)>,
}

/// One item's history as claims and effects.
struct Story {
    contract: Contract,
    total: i64,
    holds: Vec<Hold>,
    effects: Vec<Effect>,
    end_ns: u64,
}

impl Story {
    /// None where a single answer is wrong whatever the order was.
    fn of(calls: &[Call], contract: Contract, moved: &Moved) -> Option<Self> {
        let total = match calls.first()?.request {
            Request::CreateItem { total, .. } => total,
            _ => return None,
        };
        let ends = calls.iter().map(|call| call.returned_ns.unwrap_or(call.invoked_ns));
        let end_ns = ends.max().unwrap_or_default();
        let mut story = Story { contract, total, holds: Vec::new(), effects: Vec::new(), end_ns };
        for (index, call) in calls.iter().enumerate() {
            story.reserve(index, call)?;
        }
        story.deadlines(calls, moved);
        if !calls.iter().all(|call| story.fits_its_call(call, calls)) {
            return None;
        }
        let offered = (0..story.holds.len()).any(|hold| story.was_confirmed_late(hold, calls));
        for (index, call) in calls.iter().enumerate() {
            story.claim(index, call, offered);
        }
        story.lapses(calls);
        Some(story)
    }

    fn add(&mut self, index: usize, call: &Call, deed: Deed) {
        let sure = !call.outcome.is_unknown();
        let to_ns = if sure { call.returned_ns.unwrap_or(NEVER) } else { NEVER };
        self.effects.push(Effect { from_ns: call.invoked_ns, to_ns, sure, lost: !sure, call: Some(index), deed });
    }

    /// The hold that a reserve made, or finds under its key. None where ids and keys contradict each other.
    fn reserve(&mut self, index: usize, call: &Call) -> Option<()> {
        let Request::Reserve { quantity, key, .. } = &call.request else { return Some(()) };
        if let Outcome::Refused(reason) = &call.outcome {
            if *reason == Reason::InsufficientAvailability && *quantity >= 1 {
                self.add(index, call, Deed::NoRoom(*quantity));
            }
            return Some(());
        }
        let id = call.outcome.reservation().and_then(|view| view.id.clone());
        let known = self.holds.iter().position(|hold| key.is_some() && hold.key == *key);
        let hold = known.unwrap_or_else(|| {
            self.holds.push(Hold {
                id: None,
                key: key.clone(),
                units: *quantity,
                sent_ns: call.invoked_ns,
                deadline: None,
            });
            self.holds.len() - 1
        });
        if let Some(id) = id {
            let of_another = self.named(&id).is_some_and(|other| other != hold);
            let second = self.holds[hold].id.as_ref().is_some_and(|known| *known != id);
            if of_another || second {
                return None;
            }
            self.holds[hold].id = Some(id);
        }
        self.holds[hold].sent_ns = self.holds[hold].sent_ns.min(call.invoked_ns);
        self.add(index, call, Deed::Reserve(hold));
        Some(())
    }

    /// A deadline lies a life after the hold was made: after the first call that may have made it was sent, and before any
    /// call was answered that made it or found it.
    fn deadlines(&mut self, calls: &[Call], moved: &Moved) {
        for hold in 0..self.holds.len() {
            let makers = self.effects.iter().filter(|effect| matches!(effect.deed, Deed::Reserve(of) if of == hold));
            let makers: Vec<&Call> = makers.filter_map(|effect| effect.call.map(|index| &calls[index])).collect();
            let lives_ms = makers.iter().filter_map(|call| match &call.request {
                Request::Reserve { ttl_ms, .. } => {
                    let shown = call.outcome.reservation().and_then(|view| view.ttl_ms);
                    if self.contract.ttl_is_honoured { ttl_ms.or(shown) } else { shown }
                }
                _ => None,
            });
            let lives_ns: Vec<u64> = lives_ms.map(|ms| ms * 1_000_000).collect();
            let made_by_ns = makers.iter().filter_map(|call| call.returned_ns).min().unwrap_or(NEVER);
            let sent_ns = self.holds[hold].sent_ns;
            let shortest_and_longest = lives_ns.iter().min().zip(lives_ns.iter().max());
            self.holds[hold].deadline = shortest_and_longest
                .map(|(shortest, longest)| (sent_ns + shortest, made_by_ns.saturating_add(*longest)));
        }
        for hold in &mut self.holds {
            let set = hold.id.as_ref().and_then(|id| moved.get(id)).copied();
            let rounding_ns = self.contract.rounding_ns;
            hold.deadline = set
                .or(hold.deadline)
                .map(|(first, last)| (first.saturating_sub(rounding_ns), last.saturating_add(rounding_ns)));
        }
        // It is not after an answer that says it has passed.
        for call in calls {
            let view = call.outcome.reservation();
            let shown = view.is_some_and(|view| view.status == Some(Status::Expired));
            let refused = self.contract.exact_reasons && call.outcome.is_refused_for(Reason::ReservationExpired);
            let id = match &call.request {
                Request::Reserve { .. } if shown => view.and_then(|view| view.id.as_deref()),
                Request::GetReservation { reservation } if shown => Some(reservation.as_str()),
                other if refused => other.reservation(),
                _ => None,
            };
            let hold = id.and_then(|id| self.named(id));
            if let (Some(hold), Some(passed_ns)) = (hold, call.returned_ns)
                && let Some((_, last)) = &mut self.holds[hold].deadline
            {
                *last = passed_ns.min(*last);
            }
        }
    }

    /// The earliest that a deadline can be: one that is not known is not soon.
    fn earliest(&self, hold: usize) -> u64 {
        let Hold { deadline, sent_ns, .. } = &self.holds[hold];
        deadline.map_or(sent_ns.saturating_add(LIFE_MIN_NS), |(first, _)| first)
    }

    fn named(&self, id: &str) -> Option<usize> {
        self.holds.iter().position(|hold| hold.id.as_deref() == Some(id))
    }

    /// Whether a late confirm of this hold was honoured: it succeeded, and each confirm that can have happened was sent after
    /// the deadline. Before it, a late confirm is a confirm.
    fn was_confirmed_late(&self, hold: usize, calls: &[Call]) -> bool {
        let Some((_, last)) = self.holds[hold].deadline else { return false };
        let confirms: Vec<&Call> = calls
            .iter()
            .filter(|call| call.request.reservation().is_some_and(|id| self.named(id) == Some(hold)))
            .filter(|call| matches!(call.request, Request::Confirm { .. } | Request::ConfirmLate { .. }))
            .filter(|call| call.outcome.is_ok() || call.outcome.is_unknown())
            .collect();
        let late = |call: &&Call| matches!(call.request, Request::ConfirmLate { .. }) && call.outcome.is_ok();
        confirms.iter().any(late) && confirms.iter().all(|call| call.invoked_ns > last)
    }

    /// One answer against its own call.
    fn fits_its_call(&self, call: &Call, calls: &[Call]) -> bool {
        let created_ns = calls[0].returned_ns.unwrap_or(NEVER);
        match (&call.request, &call.outcome) {
            (Request::GetItem { .. } | Request::Reserve { .. }, Outcome::Refused(Reason::NotFound)) => {
                call.invoked_ns <= created_ns
            }
            (request, Outcome::Ok(Answer::Reservation(view))) => self.reservation_fits(request, view, calls),
            (Request::GetItem { item }, Outcome::Ok(Answer::Item(view))) => {
                let shown = [view.available, view.held, view.confirmed];
                let sum = view.available.zip(view.held).zip(view.confirmed).map(|((a, b), c)| a + b + c);
                shown.iter().flatten().all(|units| *units >= 0)
                    && view.id.as_ref().is_none_or(|id| id == item)
                    && view.total.is_none_or(|total| total == self.total)
                    && sum.is_none_or(|sum| sum == self.total)
            }
            (Request::Expire, Outcome::Ok(Answer::Sweep(view))) => match (view.expired, view.released) {
                (Some(0), Some(released)) => released == 0,
                (Some(expired), Some(released)) => released >= expired as i64,
                _ => true,
            },
            _ => true,
        }
    }

    fn reservation_fits(&self, request: &Request, view: &ReservationView, calls: &[Call]) -> bool {
        let (hold, status) = match request {
            Request::Reserve { item, quantity, key, .. } => {
                let fresh = key.is_none();
                let over = matches!(view.status, Some(Status::Confirmed | Status::Cancelled));
                return *quantity >= 1
                    && view.item.as_ref().is_none_or(|shown| shown == item)
                    && view.quantity.is_none_or(|shown| shown == *quantity)
                    && !(fresh && over);
            }
            Request::Confirm { reservation } | Request::ConfirmLate { reservation } => {
                (reservation, view.status.is_none_or(|status| status == Status::Confirmed))
            }
            Request::Cancel { reservation } => {
                let lapsed = view.status == Some(Status::Expired) && !self.contract.exact_reasons;
                (reservation, lapsed || view.status.is_none_or(|status| status == Status::Cancelled))
            }
            Request::GetReservation { reservation } => (reservation, true),
            _ => return true,
        };
        let Some(known) = self.named(hold) else {
            // A reserve whose answer was lost may have made it.
            return calls
                .iter()
                .any(|call| matches!(call.request, Request::Reserve { .. }) && call.outcome.is_unknown());
        };
        status
            && view.id.as_ref().is_none_or(|shown| shown == hold)
            && view.quantity.is_none_or(|shown| shown == self.holds[known].units)
    }

    /// What one call did, or what its answer says was so.
    fn claim(&mut self, index: usize, call: &Call, offered: bool) {
        if let Some(view) = call.outcome.item().filter(|_| matches!(call.request, Request::GetItem { .. })) {
            self.add(index, call, Deed::Counted([view.available, view.held, view.confirmed]));
            return;
        }
        let shown = call.outcome.reservation();
        if let (Request::Reserve { .. }, Some(view)) = (&call.request, shown) {
            // A repeat may be answered as the first call was; an end can be told only once there was one.
            if let (Some(hold), Some(status)) = (view.id.as_deref().and_then(|id| self.named(id)), view.status)
                && status != Status::Pending
            {
                self.add(index, call, Deed::Said(Said { read: None, ..self.status(hold, status) }));
            }
            return;
        }
        let Some(hold) = call.request.reservation().and_then(|id| self.named(id)) else { return };
        if let Outcome::Refused(reason) = call.outcome {
            if let Some(deed) = self.refusal(hold, &call.request, reason, offered) {
                self.add(index, call, deed);
            }
            return;
        }
        let deed = match call.request {
            Request::Confirm { .. } => Deed::Confirm(hold),
            Request::ConfirmLate { .. } => Deed::ConfirmLate(hold),
            Request::Cancel { .. } => Deed::Cancel(hold),
            Request::GetReservation { .. } => match shown.and_then(|view| view.status) {
                Some(status) => Deed::Said(self.status(hold, status)),
                None => return,
            },
            _ => return,
        };
        self.add(index, call, deed);
    }

    fn status(&self, hold: usize, status: Status) -> Said {
        let Contract { exact_reasons, lapse_frees_at_once, .. } = self.contract;
        let any_of = match status {
            // Not recorded yet, or a service that does not record lapses.
            Status::Pending if !lapse_frees_at_once || !exact_reasons => vec![Is::Held, Is::Lapsed],
            Status::Pending => vec![Is::Held],
            Status::Confirmed => vec![Is::Sold],
            Status::Cancelled if exact_reasons => vec![Is::GivenBack],
            Status::Cancelled => vec![Is::GivenBack, Is::Lapsed],
            Status::Expired => vec![Is::Lapsed],
        };
        Said { hold, any_of, or_overdue: status == Status::Expired, read: Some(status) }
    }

    fn refusal(&self, hold: usize, request: &Request, reason: Reason, offered: bool) -> Option<Deed> {
        let Contract { exact_reasons, repeated_confirm_is_ok, repeated_cancel_is_ok, .. } = self.contract;
        let late = matches!(request, Request::ConfirmLate { .. }) && offered;
        let said = |any_of: &[Is], or_overdue| {
            Some(Deed::Said(Said { hold, any_of: any_of.to_vec(), or_overdue, read: None }))
        };
        let mut any_of = match reason {
            Reason::InsufficientAvailability if late => return Some(Deed::NoRoomAgain(hold, Vec::new())),
            Reason::NotFound if exact_reasons => return said(&[Is::Absent], false),
            // A hold that is over may be forgotten.
            Reason::NotFound => return said(&[Is::Absent, Is::Sold, Is::GivenBack, Is::Lapsed], true),
            Reason::ReservationConfirmed if exact_reasons => vec![Is::Sold],
            Reason::ReservationCancelled if exact_reasons => vec![Is::GivenBack],
            Reason::ReservationExpired if exact_reasons => vec![Is::Lapsed],
            Reason::ReservationExpired
            | Reason::ReservationConfirmed
            | Reason::ReservationCancelled
            | Reason::NotPending => ENDED.to_vec(),
            _ => return None,
        };
        let or_overdue = any_of.contains(&Is::Lapsed);
        // What the contract accepts again is not refused.
        match request {
            Request::Confirm { .. } | Request::ConfirmLate { .. } if repeated_confirm_is_ok && exact_reasons => {
                any_of.retain(|is| *is != Is::Sold);
            }
            Request::Cancel { .. } if repeated_cancel_is_ok && exact_reasons => {
                any_of.retain(|is| *is != Is::GivenBack)
            }
            _ => {}
        }
        if late && or_overdue {
            any_of.retain(|is| *is != Is::Lapsed);
            return Some(Deed::NoRoomAgain(hold, any_of));
        }
        said(&any_of, or_overdue)
    }

    /// When each hold lapses: not before its deadline; and where that can be known, not after some instant.
    fn lapses(&mut self, calls: &[Call]) {
        for hold in 0..self.holds.len() {
            let Hold { id, deadline, .. } = self.holds[hold].clone();
            let lapse = |from_ns, to_ns| Effect {
                from_ns,
                to_ns,
                sure: to_ns != NEVER,
                lost: false,
                call: None,
                deed: Deed::Lapse(hold),
            };
            let Some((first, last)) = deadline else {
                self.effects.push(lapse(self.earliest(hold), NEVER));
                continue;
            };
            let free_by = if self.contract.lapse_frees_at_once {
                (last <= self.end_ns).then_some(last)
            } else {
                self.swept(calls, last)
            };
            // A call that was sent before the deadline keeps the hold until it is answered.
            let meets = |effect: &&Effect| match effect.deed {
                Deed::Confirm(of) | Deed::Cancel(of) => of == hold && effect.from_ns <= last,
                _ => false,
            };
            let busy_until = self.effects.iter().filter(meets).map(|effect| effect.to_ns).max().unwrap_or_default();
            let to_ns = free_by.filter(|_| id.is_some()).map_or(NEVER, |by| by.max(busy_until));
            self.effects.push(lapse(first, to_ns));
        }
    }

    /// The return of the first sweep that must have found a hold which had lapsed by then. It was sent after the deadline,
    /// no write and no other sweep was under way beside it, and it left nothing: it says so, or says nothing of it and has
    /// counted either every hold that was due or none.
    fn swept(&self, calls: &[Call], last: u64) -> Option<u64> {
        let beside = |one: &Call, other: &Call| {
            one.invoked_ns <= other.returned_ns.unwrap_or(NEVER) && other.invoked_ns <= one.returned_ns.unwrap_or(NEVER)
        };
        let alone = |sweep: &Call| {
            !calls.iter().any(|other| {
                let reads = matches!(other.request, Request::GetItem { .. } | Request::GetReservation { .. });
                !reads && other.id != sweep.id && beside(sweep, other)
            })
        };
        let due = |at_ns: u64| {
            let past = |hold: &&Hold| {
                hold.deadline.is_some_and(|(_, last)| last.saturating_sub(self.contract.rounding_ns) <= at_ns)
            };
            self.holds.iter().filter(past).count() as u64
        };
        calls
            .iter()
            .filter(|call| call.invoked_ns > last && alone(call))
            .filter(|call| match &call.outcome {
                Outcome::Ok(Answer::Sweep(view)) => match view.has_more {
                    Some(more) => !more,
                    None => view.expired.is_some_and(|expired| expired == 0 || expired >= due(call.invoked_ns)),
                },
                _ => false,
            })
            .filter_map(|call| call.returned_ns)
            .min()
    }

    /// Whether some order of these effects makes every claim true.
    fn explained(&self, effects: &[Effect]) -> bool {
        let start = Now { held: 0, sold: 0, holds: vec![(Is::Absent, NEVER, false, i64::MAX); self.holds.len()] };
        self.some_order(effects, 0, &start, &mut HashSet::new())
    }

    fn some_order(&self, effects: &[Effect], done: u32, now: &Now, dead: &mut HashSet<(u32, Now)>) -> bool {
        let left = || (0..effects.len()).filter(|place| done & (1 << place) == 0);
        if left().all(|place| !effects[place].sure) {
            return true;
        }
        if !dead.insert((done, now.clone())) {
            return false;
        }
        // What is left over must not have ended before the next one began.
        let next_by_ns = left().filter(|place| effects[*place].sure).map(|place| effects[place].to_ns).min();
        left().filter(|place| Some(effects[*place].from_ns) <= next_by_ns).any(|place| {
            self.after(now, &effects[place])
                .is_some_and(|then| self.some_order(effects, done | 1 << place, &then, dead))
        })
    }

    /// The item after an effect, where it can have had it.
    fn after(&self, now: &Now, effect: &Effect) -> Option<Now> {
        let mut then = now.clone();
        let free = self.total - now.held - now.sold;
        let Contract { repeated_confirm_is_ok, repeated_cancel_is_ok, exact_reasons, lapse_frees_at_once, .. } =
            self.contract;
        let in_time = |hold: usize| {
            let last = self.holds[hold].deadline.map_or(NEVER, |(_, last)| last);
            effect.from_ns <= last.min(now.holds[hold].1)
        };
        let known = |hold: usize| self.holds[hold].deadline.is_some();
        match &effect.deed {
            Deed::Reserve(hold) => match now.holds[*hold].0 {
                Is::Absent if self.holds[*hold].units <= free => then.put(*hold, Is::Held, self.holds[*hold].units, 0),
                Is::Absent => return None,
                _ if !effect.lost && self.holds[*hold].key.is_some() => {}
                _ => return None,
            },
            Deed::Confirm(hold) => match now.holds[*hold].0 {
                Is::Sold if !effect.lost && repeated_confirm_is_ok => {}
                Is::Held if in_time(*hold) => self.sell(&mut then, *hold, true),
                // Decided in time and committed after the deadline: reads may show its units free, but no other hold had them.
                Is::Lapsed if known(*hold) && in_time(*hold) && self.holds[*hold].units <= now.holds[*hold].3 => {
                    self.sell(&mut then, *hold, false);
                }
                _ => return None,
            },
            Deed::ConfirmLate(hold) => match now.holds[*hold].0 {
                Is::Sold if !effect.lost && repeated_confirm_is_ok => {}
                Is::Held => self.sell(&mut then, *hold, true),
                Is::Lapsed if self.holds[*hold].units <= free => self.sell(&mut then, *hold, false),
                _ => return None,
            },
            Deed::Cancel(hold) => match now.holds[*hold].0 {
                Is::GivenBack if !effect.lost && repeated_cancel_is_ok => {}
                Is::Held if !exact_reasons || in_time(*hold) => {
                    then.put(*hold, Is::GivenBack, -self.holds[*hold].units, 0);
                }
                Is::Lapsed if known(*hold) && in_time(*hold) || !effect.lost && !exact_reasons => {
                    then.put(*hold, Is::GivenBack, 0, 0);
                }
                _ => return None,
            },
            Deed::Lapse(hold) => match now.holds[*hold].0 {
                Is::Absent => return None,
                Is::Held => then.put(*hold, Is::Lapsed, -self.holds[*hold].units, 0),
                _ => {}
            },
            Deed::NoRoom(units) => return (free < *units).then_some(self.later(then, effect)),
            Deed::NoRoomAgain(hold, or) => {
                let is = now.holds[*hold].0;
                let met = is == Is::Lapsed && free < self.holds[*hold].units || or.contains(&is);
                return met.then(|| self.later(then, effect));
            }
            Deed::Said(said) => {
                let (is, _, shown_expired, _) = now.holds[said.hold];
                let passed = self.earliest(said.hold) <= effect.to_ns;
                let overdue = said.or_overdue && !lapse_frees_at_once && is == Is::Held && passed;
                if overdue && !said.any_of.contains(&is) {
                    then.holds[said.hold].1 = then.holds[said.hold].1.min(effect.to_ns);
                } else if !said.any_of.contains(&is) {
                    return None;
                }
                if shown_expired && said.read == Some(Status::Pending) {
                    return None;
                }
                then.holds[said.hold].2 |= said.read == Some(Status::Expired);
            }
            Deed::Counted([available, held, sold]) => {
                let agree = available.is_none_or(|shown| shown == free)
                    && held.is_none_or(|shown| shown == now.held)
                    && sold.is_none_or(|shown| shown == now.sold);
                if !agree {
                    return None;
                }
            }
        }
        Some(self.later(then, effect))
    }

    /// Of every hold that has lapsed: its deadline had passed when this effect was over, and so many units were free then.
    fn later(&self, mut now: Now, effect: &Effect) -> Now {
        let free = self.total - now.held - now.sold;
        for hold in now.holds.iter_mut().filter(|hold| hold.0 == Is::Lapsed) {
            hold.1 = if effect.call.is_some() { hold.1.min(effect.to_ns) } else { hold.1 };
            hold.3 = hold.3.min(free);
        }
        now
    }

    fn sell(&self, now: &mut Now, hold: usize, was_held: bool) {
        let units = self.holds[hold].units;
        now.put(hold, Is::Sold, if was_held { -units } else { 0 }, units);
    }

    /// Whether a later answer tells what became of a lost call: a call under the same key, or how the hold ended.
    fn told(&self, calls: &[Call], lost: usize) -> bool {
        let Some(call) = self.effects[lost].call.map(|index| &calls[index]) else { return false };
        if let Some(key) = call.request.key() {
            return calls.iter().any(|other| {
                other.request.key() == Some(key)
                    && !other.outcome.is_unknown()
                    && (other.outcome.is_ok() || other.invoked_ns >= call.invoked_ns)
                    && matches!(other.request, Request::Reserve { .. })
            });
        }
        let (of, late) = match self.effects[lost].deed {
            Deed::Confirm(hold) | Deed::Cancel(hold) => (hold, false),
            Deed::ConfirmLate(hold) => (hold, true),
            _ => return false,
        };
        self.effects.iter().filter(|effect| effect.sure).any(|effect| match &effect.deed {
            Deed::Confirm(hold) | Deed::ConfirmLate(hold) | Deed::Cancel(hold) => *hold == of,
            Deed::Said(said) => {
                // A hold that has lapsed may still be sold late.
                let ends = |is: &Is| ENDED.contains(is) && !(late && *is == Is::Lapsed);
                said.hold == of && !said.any_of.is_empty() && said.any_of.iter().all(ends) && !self.counts(said, effect)
            }
            _ => false,
        })
    }

    /// Whether a claim may be about a hold that still counts.
    fn counts(&self, said: &Said, effect: &Effect) -> bool {
        let passed = self.earliest(said.hold) <= effect.to_ns;
        said.or_overdue && !self.contract.lapse_frees_at_once && passed
    }

    /// Whether a lost call can have happened by the end of what was seen.
    fn happened(&self, lost: usize) -> bool {
        let mut effects = self.effects.clone();
        effects[lost].sure = true;
        effects[lost].to_ns = self.end_ns.max(effects[lost].from_ns);
        self.explained(&effects)
    }

    fn never_happened(&self, lost: usize) -> bool {
        let mut effects = self.effects.clone();
        effects.remove(lost);
        self.explained(&effects)
    }
}

impl Now {
    fn put(&mut self, hold: usize, is: Is, held: i64, sold: i64) {
        self.holds[hold].0 = is;
        self.held += held;
        self.sold += sold;
    }
}
