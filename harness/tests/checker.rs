//! The checker against a second, independent one that tries every order, on thousands of small random histories, right
//! and corrupted; and against the clock, on large ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use stockhold_harness::internal::{
    check::{Act, Decision, ItemHistory, Limits, Op, States, Verdict, by_item, check, check_item},
    history::{Answer, Call, Contract, ItemView, Outcome, Reason, Request, ReservationView, Seed, Status},
    target::Dialect,
};

const MS: u64 = 1_000_000;

fn contract() -> Contract {
    Contract { rounding_ns: 0, ..Contract::from(&Dialect::default()) }
}

/// A correct item, one call after another, whose calls are then stretched until they overlap.
struct Simulation {
    seed: Seed,
    item: String,
    total: i64,
    clients: u64,
    now_ns: u64,
    held: i64,
    confirmed: i64,
    /// Id, units, state, deadline, and when its caller was told of it.
    holds: Vec<(String, i64, Status, u64, u64)>,
    calls: Vec<Call>,
    busy_until: Vec<u64>,
    short_deadlines: bool,
    unknown_left: usize,
}

impl Simulation {
    fn new(seed: u64, item: &str, total: i64, clients: u64) -> Self {
        let mut simulation = Simulation {
            seed: Seed::new(seed),
            item: item.to_owned(),
            total,
            clients,
            now_ns: 10 * MS,
            held: 0,
            confirmed: 0,
            holds: Vec::new(),
            calls: Vec::new(),
            busy_until: vec![0; clients as usize],
            short_deadlines: false,
            unknown_left: 0,
        };
        let created = Answer::Item(ItemView { id: Some(item.to_owned()), ..ItemView::default() });
        let request = Request::CreateItem { name: "simulated".to_owned(), total, key: None };
        simulation.push(request, Outcome::Ok(created), 0, 1);
        simulation
    }

    fn push(&mut self, request: Request, outcome: Outcome, invoked_ns: u64, returned_ns: u64) {
        let id = self.calls.len() as u64 + 1;
        let returned_ns = (!outcome.is_unknown()).then_some(returned_ns);
        let item = Some(self.item.clone());
        self.calls.push(Call {
            id,
            client: 0,
            instance: 0,
            item,
            request,
            invoked_ns,
            returned_ns,
            status: None,
            outcome,
        });
    }

    fn lapse(&mut self) {
        for hold in &mut self.holds {
            if hold.2 == Status::Pending && hold.3 <= self.now_ns {
                hold.2 = Status::Expired;
                self.held -= hold.1;
            }
        }
    }

    /// One call takes effect now; it was invoked a little earlier and returns a little later.
    fn step(&mut self) {
        // Effects are a tick apart, so that no deadline falls on one.
        self.now_ns += 2 * (1 + self.seed.below(MS / 2));
        self.lapse();
        let stretch = 1 + self.clients * MS / 2;
        let client = (self.seed.below(self.clients)) as usize;
        if self.busy_until[client] >= self.now_ns {
            return;
        }
        let invoked_ns = (self.now_ns - self.seed.below(stretch).min(self.now_ns / 2)).max(self.busy_until[client] + 1);
        let returned_ns = self.now_ns + 1 + self.seed.below(stretch);
        self.busy_until[client] = returned_ns;
        let told: Vec<usize> =
            (0..self.holds.len()).rev().take(64).filter(|hold| self.holds[*hold].4 < invoked_ns).collect();
        let chosen = if told.is_empty() { None } else { Some(told[self.seed.below(told.len() as u64) as usize]) };
        let (request, outcome) = match (self.seed.below(10), chosen) {
            (0..=3, _) | (_, None) => self.reserve(invoked_ns, returned_ns),
            (4..=5, Some(hold)) => self.end(hold, Status::Confirmed),
            (6..=7, Some(hold)) => self.end(hold, Status::Cancelled),
            _ => self.read(),
        };
        let lost = self.unknown_left > 0 && self.seed.chance(1);
        let outcome = if lost { Outcome::Unknown("lost".to_owned()) } else { outcome };
        if lost {
            self.unknown_left -= 1;
            if let Request::Reserve { .. } = request
                && self.holds.last().is_some_and(|hold| hold.4 == returned_ns)
            {
                // Nobody was told, so nobody will ever speak of it.
                self.holds.last_mut().unwrap().4 = u64::MAX;
            }
        }
        self.push(request, outcome, invoked_ns, returned_ns);
    }

    fn reserve(&mut self, _invoked_ns: u64, returned_ns: u64) -> (Request, Outcome) {
        let quantity = 1 + self.seed.below(3) as i64;
        let ttl_ms = if self.short_deadlines && self.seed.chance(50) { Some(1 + self.seed.below(4)) } else { None };
        let customer = String::new();
        let request = Request::Reserve { item: self.item.clone(), customer, quantity, ttl_ms, key: None };
        if self.held + self.confirmed + quantity > self.total {
            return (request, Outcome::Refused(Reason::InsufficientAvailability));
        }
        self.held += quantity;
        let id = format!("{}-{}", self.item, self.holds.len());
        let deadline = ttl_ms.map_or(u64::MAX, |ttl_ms| self.now_ns + ttl_ms * MS + 1);
        self.holds.push((id.clone(), quantity, Status::Pending, deadline, returned_ns));
        let view = ReservationView { id: Some(id), ..ReservationView::default() };
        (request, Outcome::Ok(Answer::Reservation(view)))
    }

    fn end(&mut self, hold: usize, wanted: Status) -> (Request, Outcome) {
        let reservation = self.holds[hold].0.clone();
        let request = match wanted {
            Status::Confirmed => Request::Confirm { reservation },
            _ => Request::Cancel { reservation },
        };
        let quantity = self.holds[hold].1;
        let outcome = match self.holds[hold].2 {
            Status::Pending => {
                self.holds[hold].2 = wanted;
                self.held -= quantity;
                self.confirmed += if wanted == Status::Confirmed { quantity } else { 0 };
                Outcome::Ok(Answer::Reservation(ReservationView::default()))
            }
            status if status == wanted => Outcome::Ok(Answer::Reservation(ReservationView::default())),
            Status::Confirmed => Outcome::Refused(Reason::ReservationConfirmed),
            Status::Cancelled => Outcome::Refused(Reason::ReservationCancelled),
            Status::Expired => Outcome::Refused(Reason::ReservationExpired),
        };
        (request, outcome)
    }

    fn read(&mut self) -> (Request, Outcome) {
        let view = ItemView {
            available: Some(self.total - self.held - self.confirmed),
            held: Some(self.held),
            confirmed: Some(self.confirmed),
            ..ItemView::default()
        };
        (Request::GetItem { item: self.item.clone() }, Outcome::Ok(Answer::Item(view)))
    }

    /// Turns one answer into another; whether that matters is for the checkers to say.
    fn corrupt(&mut self) {
        let victim = 1 + self.seed.below(self.calls.len() as u64 - 1) as usize;
        let fresh = format!("{}-forged-{victim}", self.item);
        let dice = self.seed.below(3);
        let call = &mut self.calls[victim];
        call.outcome = match (&call.request, call.outcome.clone()) {
            (Request::Reserve { .. }, Outcome::Ok(_)) => Outcome::Refused(Reason::InsufficientAvailability),
            (Request::Reserve { .. }, _) => {
                Outcome::Ok(Answer::Reservation(ReservationView { id: Some(fresh), ..ReservationView::default() }))
            }
            (Request::GetItem { .. }, Outcome::Ok(Answer::Item(mut view))) => {
                let place =
                    [&mut view.available, &mut view.held, &mut view.confirmed].into_iter().nth(dice as usize).unwrap();
                *place = place.map(|shown| shown + 1);
                Outcome::Ok(Answer::Item(view))
            }
            (_, Outcome::Ok(_)) => Outcome::Refused(match dice {
                0 => Reason::ReservationExpired,
                1 => Reason::ReservationCancelled,
                _ => Reason::ReservationConfirmed,
            }),
            (_, _) => Outcome::Ok(Answer::Reservation(ReservationView::default())),
        };
        if call.outcome.is_unknown() || call.returned_ns.is_none() {
            call.returned_ns = Some(call.invoked_ns + MS);
        }
    }

    fn history(&self) -> ItemHistory {
        by_item(&self.calls, contract(), &HashMap::new()).remove(0)
    }
}

/// A second opinion on what one operation needs and does: nothing but the hold's letters, and sums over them.
fn effect(history: &ItemHistory, letters: &str, op: &Op) -> Option<String> {
    let sum = |letter: char| -> i64 {
        letters.chars().zip(&history.holds).filter(|(is, _)| *is == letter).map(|(_, hold)| hold.quantity).sum()
    };
    let free = history.total - sum('H') - sum('C');
    let is = |hold: usize| letters.chars().nth(hold).unwrap();
    let becomes = |hold: usize, letter: char| {
        Some(letters.chars().enumerate().map(|(index, old)| if index == hold { letter } else { old }).collect())
    };
    let same = |met: bool| met.then(|| letters.to_owned());
    match op.act {
        Act::Reserve { hold } if is(hold) == '-' && free >= history.holds[hold].quantity => becomes(hold, 'H'),
        Act::Reserve { .. } => None,
        Act::Confirm { hold } if is(hold) == 'H' => becomes(hold, 'C'),
        Act::Confirm { hold } => same(is(hold) == 'C'),
        Act::Cancel { hold } if is(hold) == 'H' => becomes(hold, 'X'),
        Act::Cancel { hold } => same(is(hold) == 'X'),
        Act::Lapse { hold } if is(hold) == 'H' => becomes(hold, 'L'),
        Act::Lapse { hold } => same(is(hold) != '-'),
        Act::TooFew { quantity } => same(free < quantity),
        Act::Observe { hold, allowed } => same(match is(hold) {
            '-' => allowed.meets(States::ABSENT),
            'H' => allowed.meets(States::HELD),
            'C' => allowed.meets(States::CONFIRMED),
            'X' => allowed.meets(States::CANCELLED),
            _ => allowed.meets(States::LAPSED),
        }),
        Act::Read { available, held, confirmed, overdue } => {
            same((0..=overdue).any(|freed| {
                (available, held, confirmed) == (Some(free + freed), Some(sum('H') - freed), Some(sum('C')))
            }))
        }
    }
}

/// Tries every order, one operation at a time, remembering nothing and guessing nothing.
fn some_order_explains(history: &ItemHistory, letters: &str, rest: &mut Vec<usize>) -> bool {
    if rest.iter().all(|op| !history.ops[*op].must) {
        return true;
    }
    for place in 0..rest.len() {
        let op = history.ops[rest[place]];
        let overtakes = rest.iter().any(|other| history.ops[*other].returned_ns < op.invoked_ns);
        let Some(after) = effect(history, letters, &op).filter(|_| !overtakes) else { continue };
        let taken = rest.remove(place);
        let explained = some_order_explains(history, &after, rest);
        rest.insert(place, taken);
        if explained {
            return true;
        }
    }
    false
}

fn decided(history: &ItemHistory) -> bool {
    match check_item(history, Instant::now() + Duration::from_secs(5), 1_000_000) {
        Decision::Explained | Decision::ExplainedBut(_) => true,
        Decision::Refuted(_) => false,
        Decision::Undecided(why) => panic!("{why}"),
    }
}

#[test]
fn verdicts_agree_with_brute_force_on_20_000_small_histories() {
    let (mut explained, mut refuted) = (0, 0);
    for seed in 0..20_000 {
        let mut simulation = Simulation::new(seed, "i", 1 + (seed % 5) as i64, 4);
        simulation.short_deadlines = seed % 3 == 0;
        simulation.unknown_left = usize::from(seed % 4 == 0);
        let corrupted = seed % 2 == 1;
        for _ in 0..60 {
            if simulation.calls.len() < 8 {
                simulation.step();
            }
        }
        if corrupted {
            simulation.corrupt();
        }
        let history = simulation.history();
        let fast = decided(&history);
        let slow =
            some_order_explains(&history, &"-".repeat(history.holds.len()), &mut (0..history.ops.len()).collect());
        assert_eq!(fast, slow, "seed {seed}: {history:#?}");
        assert!(slow || corrupted, "seed {seed}: a correct history was refuted: {history:#?}");
        if slow { explained += 1 } else { refuted += 1 }
    }
    // Were either nearly empty, the agreement would say little.
    assert!(explained > 5_000 && refuted > 3_000, "{explained} explained, {refuted} refuted");
}

fn large(seed: u64, item: &str, calls: usize, clients: u64, unknown: usize) -> Simulation {
    let mut simulation = Simulation::new(seed, item, 300, clients);
    simulation.unknown_left = unknown;
    while simulation.calls.len() <= calls {
        simulation.step();
    }
    simulation
}

#[test]
fn ten_thousand_operations_of_200_clients_are_decided_in_five_seconds() {
    for (seed, unknown) in [(1, 0), (2, 50), (3, 50)] {
        let simulation = large(seed, "i", 10_000, 200, unknown);
        let lost = simulation.calls.iter().filter(|call| call.outcome.is_unknown()).count();
        assert_eq!(lost, unknown);
        let began = Instant::now();
        let limits = Limits { time: Duration::from_secs(5), ..Limits::default() };
        let checked = check(&simulation.calls, contract(), &HashMap::new(), limits);
        println!(
            "{} operations, {lost} unknown: {:?} in {:?}, {} reads loosely",
            checked.operations,
            checked.verdict,
            began.elapsed(),
            checked.loosely
        );
        assert_eq!(checked.verdict, Verdict::Held, "{:?} {:?}", checked.violations, checked.undecided);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_million_operations_over_a_thousand_items_are_decided_in_a_minute() {
    many_items(1_000);
}

fn many_items(items: u64) {
    let mut took = Duration::ZERO;
    for item in 0..items {
        let simulation = large(item, &format!("item-{item}"), 1_000, 8, usize::from(item % 10 == 0));
        let began = Instant::now();
        let checked = check(&simulation.calls, contract(), &HashMap::new(), Limits::default());
        took += began.elapsed();
        assert_eq!(checked.verdict, Verdict::Held, "{:?} {:?}", checked.violations, checked.undecided);
        assert_eq!(checked.loosely, 0, "no read is in a crowd of eight clients");
    }
    println!("{items} items of 1,000 operations in {took:?}");
    assert!(took < Duration::from_millis(60) * u32::try_from(items).unwrap());
}

#[test]
fn a_read_between_a_deadline_and_a_confirm_that_met_it_may_show_either() {
    let mut simulation = Simulation::new(1, "i", 1, 1);
    let reserved = ReservationView { id: Some("a".to_owned()), ..ReservationView::default() };
    let request =
        Request::Reserve { item: "i".to_owned(), customer: String::new(), quantity: 1, ttl_ms: Some(10), key: None };
    simulation.push(request, Outcome::Ok(Answer::Reservation(reserved)), MS, 2 * MS);
    let confirmed = Outcome::Ok(Answer::Reservation(ReservationView::default()));
    simulation.push(Request::Confirm { reservation: "a".to_owned() }, confirmed, 9 * MS, 20 * MS);
    let read = |available: i64, confirmed: i64| {
        Outcome::Ok(Answer::Item(ItemView {
            available: Some(available),
            held: Some(0),
            confirmed: Some(confirmed),
            ..ItemView::default()
        }))
    };
    simulation.push(Request::GetItem { item: "i".to_owned() }, read(1, 0), 15 * MS, 16 * MS);
    assert!(decided(&simulation.history()));
    // Once the confirm was answered, nothing excuses it.
    simulation.push(Request::GetItem { item: "i".to_owned() }, read(1, 0), 21 * MS, 22 * MS);
    assert!(!decided(&simulation.history()));
}

#[test]
fn a_ledger_is_replayed_row_by_row() {
    use stockhold_harness::internal::check::{Counters, Kind, LedgerRow, Page, replay};
    let mut simulation = Simulation::new(1, "i", 5, 1);
    let told = |id: &str| {
        Outcome::Ok(Answer::Reservation(ReservationView { id: Some(id.to_owned()), ..ReservationView::default() }))
    };
    let reserve =
        || Request::Reserve { item: "i".to_owned(), customer: String::new(), quantity: 1, ttl_ms: None, key: None };
    simulation.push(reserve(), told("a"), 10, 20);
    simulation.push(reserve(), told("b"), 30, 40);
    simulation.push(Request::Confirm { reservation: "a".to_owned() }, told("a"), 50, 60);
    let row = |version: i64, id: &str, kind: Kind| LedgerRow {
        version,
        reservation_id: Some(id.to_owned()),
        kind,
        quantity: 1,
        total_quantity: 5,
        held_quantity: 0,
        confirmed_quantity: 0,
        recorded_at_us: 0,
    };
    let item = Counters { total_quantity: 5, held_quantity: 0, confirmed_quantity: 0, version: 0 };
    let page = |ledger: Vec<LedgerRow>| Page { item: item.clone(), reservations: Vec::new(), ledger };
    let good = vec![row(2, "a", Kind::Reserved), row(3, "b", Kind::Reserved), row(4, "a", Kind::Confirmed)];
    let refuted = |ledger: Vec<LedgerRow>| {
        replay(&page(ledger), &simulation.calls).into_iter().map(|found| found.what).collect::<Vec<_>>()
    };
    assert_eq!(refuted(good.clone()), Vec::<String>::new());
    assert!(refuted(good[..2].to_vec())[0].contains("no such row"));
    let extra = [good.clone(), vec![row(5, "b", Kind::Cancelled)]].concat();
    assert!(refuted(extra)[0].contains("no call explains"));
    let forged = [good.clone(), vec![row(5, "c", Kind::Reserved)]].concat();
    assert!(refuted(forged)[0].contains("no call explains"));
    let swapped = vec![good[1].clone(), good[0].clone(), good[2].clone()];
    assert!(refuted(swapped)[0].contains("stands before"));
}
