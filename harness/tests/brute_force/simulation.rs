//! A correct item under any contract, a few calls long. Effects come one after another, half a millisecond off the whole
//! ones at which calls are sent and answered, and the calls are stretched until they overlap.

use stockhold_harness::internal::history::{
    Answer, Call, Contract, ItemView, Moved, Outcome, Reason, Request, ReservationView, Seed, Status, SweepView,
};

const MS: u64 = 1_000_000;
const ITEM: &str = "i";
/// The longest that a deployment rounds a deadline here.
const ROUNDING_MS: u64 = 4;

struct Hold {
    id: String,
    key: Option<String>,
    units: i64,
    status: Status,
    deadline_ns: u64,
    /// Whether its units count, and whether a sweep has counted it.
    recorded: bool,
    /// Whether a caller was told its id.
    told: bool,
}

/// What a lost call does later.
enum Late {
    Sold(usize, u64),
    Anew(usize),
    GivenBack(usize, u64),
}

pub struct Simulation {
    pub contract: Contract,
    pub moved: Moved,
    pub calls: Vec<Call>,
    seed: Seed,
    total: i64,
    now_ns: u64,
    held: i64,
    confirmed: i64,
    holds: Vec<Hold>,
    late: Vec<Late>,
    /// How many calls may yet be lost.
    lost_left: u32,
    late_is_offered: bool,
    deadline_is_shown: bool,
    reads_tell_lapses: bool,
}

impl Simulation {
    /// A history of at most so many calls after the item's creation.
    pub fn new(number: u64, length: usize) -> Self {
        let mut seed = Seed::new(number);
        let rounding = seed.chance(25);
        let contract = Contract {
            repeated_confirm_is_ok: seed.chance(60),
            repeated_cancel_is_ok: seed.chance(60),
            lapse_frees_at_once: seed.chance(50),
            exact_reasons: seed.chance(60),
            ttl_is_honoured: seed.chance(70),
            rounding_ns: if rounding { ROUNDING_MS * MS } else { 0 },
        };
        let mut simulation = Simulation {
            contract,
            moved: Moved::new(),
            calls: Vec::new(),
            total: 1 + seed.below(3) as i64,
            now_ns: 10 * MS + MS / 2,
            held: 0,
            confirmed: 0,
            holds: Vec::new(),
            late: Vec::new(),
            lost_left: if seed.chance(30) { 1 + seed.below(2) as u32 } else { 0 },
            late_is_offered: seed.chance(50),
            deadline_is_shown: seed.chance(60),
            reads_tell_lapses: seed.chance(50),
            seed,
        };
        let created = Answer::Item(ItemView { id: Some(ITEM.to_owned()), ..ItemView::default() });
        let request = Request::CreateItem { name: "simulated".to_owned(), total: simulation.total, key: None };
        simulation.push(request, Outcome::Ok(created), MS, 2 * MS);
        while simulation.calls.len() <= length {
            simulation.step();
        }
        simulation
    }

    fn push(&mut self, request: Request, outcome: Outcome, invoked_ns: u64, returned_ns: u64) {
        self.calls.push(Call {
            id: self.calls.len() as u64 + 1,
            client: 0,
            instance: 0,
            item: (request != Request::Expire).then(|| ITEM.to_owned()),
            request,
            invoked_ns,
            returned_ns: (!outcome.is_unknown()).then_some(returned_ns),
            status: None,
            outcome,
        });
    }

    /// One call takes effect now; it was sent a little earlier and is answered a little later.
    fn step(&mut self) {
        let pause_ms = match self.seed.below(10) {
            0 => 1_100,
            1..=3 => 5 + self.seed.below(10),
            _ => 1 + self.seed.below(3),
        };
        self.now_ns += pause_ms * MS;
        if self.contract.lapse_frees_at_once || self.seed.chance(5) {
            self.lapse();
        }
        self.lost_calls_happen();
        let stretch = if self.seed.chance(60) { 6 } else { 1 };
        let invoked_ns = (self.now_ns - MS / 2).saturating_sub(self.seed.below(stretch) * MS).max(3 * MS);
        let returned_ns = self.now_ns + MS / 2 + self.seed.below(stretch) * MS;
        let choose = self.seed.below(20);
        let lost = self.lost_left > 0 && self.seed.chance(35);
        let hold = (!self.holds.is_empty()).then(|| self.seed.below(self.holds.len() as u64) as usize);
        let hold = hold.filter(|hold| self.holds[*hold].told);
        if lost && self.is_lost_for_now(choose, hold, invoked_ns) {
            return;
        }
        let (request, outcome) = match (choose, hold) {
            (0..=5, _) | (6..=15, None) => self.reserve(lost),
            (6..=7, Some(hold)) => self.confirm(hold, invoked_ns),
            (8..=9, Some(hold)) => self.confirm_late(hold),
            (10..=12, Some(hold)) => self.cancel(hold, invoked_ns),
            (13..=15, Some(hold)) => self.read_reservation(hold),
            (16..=17, _) => self.sweep(),
            _ => self.read_item(),
        };
        let outcome = if lost { Outcome::Unknown("lost".to_owned()) } else { outcome };
        self.lost_left -= u32::from(lost);
        self.push(request, outcome, invoked_ns, returned_ns);
        if self.seed.chance(3) {
            self.move_a_deadline();
        }
    }

    /// Some lost calls happen later, and some never.
    fn is_lost_for_now(&mut self, choose: u64, hold: Option<usize>, invoked_ns: u64) -> bool {
        let Some(hold) = hold.filter(|_| (6..=12).contains(&choose) && self.seed.chance(60)) else { return false };
        let reservation = self.holds[hold].id.clone();
        let (request, late) = match choose {
            6..=7 => (Request::Confirm { reservation }, Late::Sold(hold, invoked_ns)),
            8..=9 => (Request::ConfirmLate { reservation }, Late::Anew(hold)),
            _ => (Request::Cancel { reservation }, Late::GivenBack(hold, invoked_ns)),
        };
        self.late.push(late);
        self.lost_left -= 1;
        self.push(request, Outcome::Unknown("lost".to_owned()), invoked_ns, 0);
        true
    }

    fn lost_calls_happen(&mut self) {
        if self.late.is_empty() || self.seed.chance(60) {
            return;
        }
        match self.late.remove(0) {
            Late::Sold(hold, invoked_ns) => drop(self.confirm(hold, invoked_ns)),
            Late::Anew(hold) => drop(self.confirm_late(hold)),
            Late::GivenBack(hold, invoked_ns) => drop(self.cancel(hold, invoked_ns)),
        }
    }

    fn lapse(&mut self) -> (u64, i64) {
        let (mut expired, mut released) = (0, 0);
        for hold in &mut self.holds {
            if hold.status == Status::Pending && hold.deadline_ns < self.now_ns {
                hold.status = Status::Expired;
                self.held -= hold.units;
                expired += 1;
                released += hold.units;
            }
        }
        (expired, released)
    }

    /// Whether the deadline has passed, recorded or not.
    fn is_due(&self, hold: usize) -> bool {
        self.holds[hold].deadline_ns < self.now_ns
    }

    fn free(&self) -> i64 {
        self.total - self.held - self.confirmed
    }

    fn view(&mut self, hold: usize) -> ReservationView {
        let seen = &self.holds[hold];
        let due = seen.status == Status::Pending && self.is_due(hold) && self.reads_tell_lapses;
        let status = if due { Status::Expired } else { seen.status };
        let view = ReservationView {
            id: Some(seen.id.clone()),
            item: Some(ITEM.to_owned()),
            status: Some(status),
            quantity: Some(seen.units),
            ttl_ms: None,
        };
        let ReservationView { id, item, status, quantity, .. } = view;
        let mut some = |shown: bool| shown && self.seed.chance(70);
        ReservationView {
            id: id.filter(|_| some(true)),
            item: item.filter(|_| some(true)),
            status: status.filter(|_| some(true)),
            quantity: quantity.filter(|_| some(true)),
            ttl_ms: None,
        }
    }

    fn reserve(&mut self, lost: bool) -> (Request, Outcome) {
        let units = 1 + self.seed.below(2) as i64;
        let key = self.seed.chance(35).then(|| format!("k{}", self.seed.below(2)));
        let known = self.holds.iter().position(|hold| key.is_some() && hold.key == key);
        let units = known.map_or(units, |hold| self.holds[hold].units);
        let life_ms = match self.seed.below(4) {
            0 => 3_600_000,
            1 => 1_000,
            _ => 4 + self.seed.below(10),
        };
        let asked = self.seed.chance(80).then_some(life_ms);
        // Where callers do not choose, every hold lives equally long: at least a second.
        let life_ms = asked.filter(|_| self.contract.ttl_is_honoured).unwrap_or(1_200);
        let request = |ttl_ms| Request::Reserve {
            item: ITEM.to_owned(),
            customer: String::new(),
            quantity: units,
            ttl_ms,
            key: key.clone(),
        };
        if let Some(hold) = known {
            self.holds[hold].told |= !lost;
            let asked_first = self.calls.iter().find_map(|call| match &call.request {
                Request::Reserve { ttl_ms, key: of, .. } if *of == key => Some(*ttl_ms),
                _ => None,
            });
            let mut view = self.view(hold);
            view.id = Some(self.holds[hold].id.clone());
            view.status = view.status.map(|status| if self.seed.chance(40) { Status::Pending } else { status });
            return (request(asked_first.flatten()), Outcome::Ok(Answer::Reservation(view)));
        }
        // A key that met a refusal may come again with the same body only.
        let before = self.calls.iter().find_map(|call| match &call.request {
            Request::Reserve { ttl_ms, key: of, quantity, .. } if key.is_some() && *of == key => {
                Some((*ttl_ms, *quantity))
            }
            _ => None,
        });
        if before.is_some_and(|before| before != (asked, units)) {
            return self.read_item();
        }
        if units > self.free() {
            return (request(asked), Outcome::Refused(Reason::InsufficientAvailability));
        }
        self.held += units;
        let id = format!("r{}", self.holds.len());
        let off = if self.contract.rounding_ns > 0 { self.seed.below(2 * ROUNDING_MS) * MS } else { 0 };
        let deadline_ns = self.now_ns + life_ms * MS + off - if off > 0 { ROUNDING_MS * MS } else { 0 };
        let shown = (self.deadline_is_shown || self.seed.chance(10)).then_some(life_ms);
        self.holds.push(Hold {
            id: id.clone(),
            key: key.clone(),
            units,
            status: Status::Pending,
            deadline_ns,
            recorded: false,
            told: !lost,
        });
        let mut view = self.view(self.holds.len() - 1);
        view.id = Some(id);
        view.ttl_ms = shown;
        view.status = view.status.map(|_| Status::Pending);
        (request(asked), Outcome::Ok(Answer::Reservation(view)))
    }

    /// Whether a call that was sent then still counts as one in time: it was decided before the deadline and is committed now.
    fn meets(&self, hold: usize, invoked_ns: u64) -> bool {
        !self.is_due(hold) || invoked_ns < self.holds[hold].deadline_ns && self.holds[hold].deadline_ns != u64::MAX
    }

    fn confirm(&mut self, hold: usize, invoked_ns: u64) -> (Request, Outcome) {
        let request = Request::Confirm { reservation: self.holds[hold].id.clone() };
        let met = self.meets(hold, invoked_ns) && (!self.is_due(hold) || self.seed.chance(60));
        let outcome = match self.holds[hold].status {
            Status::Pending if met => self.sell(hold, true),
            // Decided in time; whether the deadline is known to callers is of no matter to the service, but only where
            // it is can a caller tell.
            Status::Expired if met && self.deadline_is_known(hold) && self.holds[hold].units <= self.free() => {
                self.sell(hold, false)
            }
            Status::Confirmed if self.contract.repeated_confirm_is_ok => self.done(hold),
            status => self.refuse(status),
        };
        (request, outcome)
    }

    fn deadline_is_known(&self, hold: usize) -> bool {
        let id = &self.holds[hold].id;
        self.calls.iter().any(|call| match (&call.request, call.outcome.reservation()) {
            (Request::Reserve { ttl_ms, .. }, Some(view)) if view.id.as_ref() == Some(id) => {
                view.ttl_ms.is_some() || self.contract.ttl_is_honoured && ttl_ms.is_some()
            }
            _ => false,
        })
    }

    fn confirm_late(&mut self, hold: usize) -> (Request, Outcome) {
        let request = Request::ConfirmLate { reservation: self.holds[hold].id.clone() };
        let units = self.holds[hold].units;
        let outcome = match self.holds[hold].status {
            Status::Pending if !self.is_due(hold) || self.late_is_offered => self.sell(hold, true),
            Status::Expired if self.late_is_offered && units <= self.free() => self.sell(hold, false),
            Status::Expired if self.late_is_offered => Outcome::Refused(match self.seed.below(2) {
                0 => Reason::InsufficientAvailability,
                _ => Reason::ReservationExpired,
            }),
            Status::Confirmed if self.contract.repeated_confirm_is_ok => self.done(hold),
            status => self.refuse(status),
        };
        (request, outcome)
    }

    fn sell(&mut self, hold: usize, was_held: bool) -> Outcome {
        let units = self.holds[hold].units;
        self.held -= if was_held { units } else { 0 };
        self.confirmed += units;
        self.holds[hold].status = Status::Confirmed;
        self.done(hold)
    }

    fn done(&mut self, hold: usize) -> Outcome {
        Outcome::Ok(Answer::Reservation(self.view(hold)))
    }

    /// A pending hold is refused because its deadline has passed.
    fn refuse(&mut self, status: Status) -> Outcome {
        let exact = match status {
            Status::Pending | Status::Expired => Reason::ReservationExpired,
            Status::Confirmed => Reason::ReservationConfirmed,
            Status::Cancelled => Reason::ReservationCancelled,
        };
        let any = [
            Reason::ReservationExpired,
            Reason::ReservationConfirmed,
            Reason::ReservationCancelled,
            Reason::NotPending,
        ];
        Outcome::Refused(match self.seed.below(10) {
            0 => Reason::NotPending,
            1 if !self.contract.exact_reasons => Reason::NotFound,
            2 => [Reason::Contention, Reason::Unreachable, Reason::Invalid, Reason::Unauthorized]
                [self.seed.below(4) as usize],
            _ if !self.contract.exact_reasons => any[self.seed.below(4) as usize],
            _ => exact,
        })
    }

    fn cancel(&mut self, hold: usize, invoked_ns: u64) -> (Request, Outcome) {
        let request = Request::Cancel { reservation: self.holds[hold].id.clone() };
        let met = self.meets(hold, invoked_ns) && (!self.is_due(hold) || self.seed.chance(60));
        let units = self.holds[hold].units;
        let lax = !self.contract.exact_reasons && self.seed.chance(30);
        let outcome = match self.holds[hold].status {
            Status::Pending if met || lax => {
                self.holds[hold].status = Status::Cancelled;
                self.held -= units;
                self.done(hold)
            }
            Status::Expired
                if met && self.deadline_is_known(hold) || self.holds[hold].status == Status::Expired && lax =>
            {
                self.holds[hold].status = Status::Cancelled;
                self.done(hold)
            }
            Status::Cancelled if self.contract.repeated_cancel_is_ok => self.done(hold),
            status => self.refuse(status),
        };
        (request, outcome)
    }

    fn read_reservation(&mut self, hold: usize) -> (Request, Outcome) {
        let request = Request::GetReservation { reservation: self.holds[hold].id.clone() };
        (request, self.done(hold))
    }

    fn read_item(&mut self) -> (Request, Outcome) {
        let counted = [Some(self.free()), Some(self.held), Some(self.confirmed), Some(self.total)];
        let mut some = |value: Option<i64>| value.filter(|_| self.seed.chance(75));
        let view = ItemView {
            available: some(counted[0]),
            held: some(counted[1]),
            confirmed: some(counted[2]),
            total: some(counted[3]),
            ..ItemView::default()
        };
        (Request::GetItem { item: ITEM.to_owned() }, Outcome::Ok(Answer::Item(view)))
    }

    fn sweep(&mut self) -> (Request, Outcome) {
        let (mut expired, mut released) = (0, 0);
        if self.contract.lapse_frees_at_once {
            self.lapse();
            // Lapses were free before; the sweep counts those that it had not counted.
            for hold in self.holds.iter_mut().filter(|hold| hold.status == Status::Expired && !hold.recorded) {
                hold.recorded = true;
                expired += 1;
                released += hold.units;
            }
        } else {
            (expired, released) = self.lapse();
        }
        let mut some = |chance| self.seed.chance(chance);
        let view = SweepView {
            expired: some(80).then_some(expired),
            released: some(80).then_some(released),
            has_more: some(60).then_some(false),
        };
        (Request::Expire, Outcome::Ok(Answer::Sweep(view)))
    }

    fn move_a_deadline(&mut self) {
        let now_ns = self.now_ns;
        let alive =
            |hold: &&mut Hold| hold.told && hold.status == Status::Pending && hold.deadline_ns > now_ns + 20 * MS;
        let Some(hold) = self.holds.iter_mut().find(alive) else { return };
        hold.deadline_ns = now_ns + 10 * MS;
        self.moved.insert(hold.id.clone(), (now_ns + 9 * MS, now_ns + 11 * MS));
    }

    /// Turns one answer into another; whether that matters is for the checkers to say.
    pub fn corrupt(&mut self) {
        let victim = 1 + self.seed.below(self.calls.len() as u64 - 1) as usize;
        let dice = self.seed.below(12);
        let lost = self.calls.iter().any(|call| call.outcome.is_unknown());
        // With a lost reserve, an id that no call was told may be its.
        let strange = if lost { "r0" } else { "r9" }.to_owned();
        let call = &mut self.calls[victim];
        let returned_ns = call.returned_ns.unwrap_or(call.invoked_ns + 2 * MS);
        let reasons = [
            Reason::ReservationExpired,
            Reason::ReservationCancelled,
            Reason::ReservationConfirmed,
            Reason::NotPending,
            Reason::NotFound,
            Reason::InsufficientAvailability,
        ];
        let statuses = [Status::Pending, Status::Confirmed, Status::Cancelled, Status::Expired];
        call.outcome = match call.outcome.clone() {
            // The call's time instead of its answer.
            outcome if dice == 11 && !outcome.is_unknown() => {
                call.invoked_ns = returned_ns - MS / 2;
                outcome
            }
            Outcome::Ok(Answer::Item(mut view)) => {
                let shown = [&mut view.available, &mut view.held, &mut view.confirmed, &mut view.total];
                if let Some(shown) = shown.into_iter().nth(dice as usize % 4) {
                    *shown = Some(shown.unwrap_or(1) + if dice < 6 { 1 } else { -1 });
                }
                Outcome::Ok(Answer::Item(view))
            }
            Outcome::Ok(Answer::Sweep(mut view)) => {
                match dice % 4 {
                    0 => view.has_more = Some(true),
                    1 => view.has_more = Some(false),
                    2 => view.expired = Some(view.expired.unwrap_or_default() + 1),
                    _ => view.released = Some(view.released.unwrap_or_default() + 1),
                }
                Outcome::Ok(Answer::Sweep(view))
            }
            Outcome::Ok(Answer::Reservation(mut view)) => match dice {
                0..=2 => {
                    view.status = Some(statuses[self.seed.below(4) as usize]);
                    Outcome::Ok(Answer::Reservation(view))
                }
                3 => {
                    view.quantity = Some(view.quantity.unwrap_or(1) + 1);
                    Outcome::Ok(Answer::Reservation(view))
                }
                4 => {
                    view.id = Some(strange);
                    Outcome::Ok(Answer::Reservation(view))
                }
                5 => {
                    view.ttl_ms = Some(5);
                    Outcome::Ok(Answer::Reservation(view))
                }
                _ => Outcome::Refused(reasons[self.seed.below(6) as usize]),
            },
            Outcome::Refused(_) if dice < 4 => Outcome::Refused(reasons[self.seed.below(6) as usize]),
            Outcome::Refused(_) | Outcome::Unknown(_) => match &call.request {
                Request::Reserve { .. } => Outcome::Ok(Answer::Reservation(ReservationView {
                    id: Some(if dice < 9 { format!("forged{victim}") } else { "r0".to_owned() }),
                    ..ReservationView::default()
                })),
                Request::GetItem { .. } => Outcome::Refused(Reason::NotFound),
                Request::Expire => Outcome::Ok(Answer::Sweep(SweepView::default())),
                _ => Outcome::Ok(Answer::Reservation(ReservationView::default())),
            },
        };
        call.returned_ns = (!call.outcome.is_unknown()).then_some(returned_ns);
    }
}
