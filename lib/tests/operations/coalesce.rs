//! Calls of one process that wait for one item: which share a statement, and that the failure of one is not the others'.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rstest::rstest;
use stockhold::reservation::{IdempotencyKey, Reservation};
use stockhold::{Cancel, Config, Confirm, Error, Inventory, Reserve};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::common::{Fixture, Gate, at_once, id_in_bucket_of, new_reservation, reserved, run, send};

type Answer = JoinHandle<Result<Reserve, Error>>;

fn refused(available_quantity: i64, requested_quantity: i64) -> Reserve {
    Reserve::InsufficientAvailability { available_quantity, requested_quantity }
}

fn reserve(inventory: &Inventory, item_id: Uuid, quantity: i64, key: Option<&str>) -> Answer {
    let inventory = inventory.clone();
    let key = key.map(|key| IdempotencyKey::try_from(key).unwrap());
    send(async move { inventory.reserve(new_reservation(item_id, quantity, 600.0), key).await })
}

/// Until so many calls wait in the process.
async fn wait_for_line(inventory: &Inventory, waiting_count: usize) {
    let started = Instant::now();
    while inventory.coalesced().waiting_count != waiting_count {
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}, not {waiting_count}", inventory.coalesced());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A gate with a lone reserve of two units parked at it, so that every later one waits in the process.
async fn close_with_one(fixture: &Fixture, item_id: Uuid) -> (Gate, Answer) {
    let mut gate = Gate::close_item(fixture, item_id).await;
    let first = reserve(&fixture.inventory, item_id, 2, None);
    gate.wait_for(1).await;
    (gate, first)
}

/// Sends reserves that wait, one after the other.
async fn line_up(fixture: &Fixture, item_id: Uuid, calls: &[(i64, Option<&str>)]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (quantity, key) in calls {
        answers.push(reserve(&fixture.inventory, item_id, *quantity, *key));
        wait_for_line(&fixture.inventory, answers.len()).await;
    }
    answers
}

async fn answers(calls: Vec<Answer>) -> Vec<Reserve> {
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap().unwrap());
    }
    outcomes
}

#[tokio::test]
async fn calls_that_wait_leave_together_first_come_first_served() {
    let fixture = Fixture::new().await;
    let item = fixture.item(12).await;
    let (gate, first) = close_with_one(&fixture, item.id).await;
    let waiting =
        line_up(&fixture, item.id, &[(4, None), (9, None), (3, None), (4, None), (2, None), (1, None), (1, None)])
            .await;
    gate.open().await;
    reserved(first.await.unwrap().unwrap());
    let outcomes = answers(waiting).await;
    let made: Vec<_> = outcomes.iter().map(|outcome| matches!(outcome, Reserve::Reserved(_))).collect();
    assert_eq!(made, [true, false, true, false, true, true, false], "{outcomes:?}");
    assert_eq!(outcomes[6], refused(0, 1));
    assert_eq!(fixture.counters(item.id).await, (12, 0, 6));
    for outcome in outcomes {
        if let Reserve::Reserved(reservation) = outcome {
            assert_eq!(fixture.inventory.get_reservation(reservation.id).await.unwrap(), Some(reservation));
        }
    }
    fixture.check_books(item.id).await;
    let coalesced = fixture.inventory.coalesced();
    assert_eq!((coalesced.statement_count, coalesced.call_count, coalesced.waiting_count), (2, 8, 0));
}

#[tokio::test]
async fn without_coalescing_each_call_waits_by_itself() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let inventory = fixture.alone().await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let calls: Vec<_> = (0..4).map(|_| reserve(&inventory, item.id, 1, None)).collect();
    gate.wait_for(4).await;
    gate.open().await;
    answers(calls).await.into_iter().for_each(|outcome| drop(reserved(outcome)));
    assert_eq!(inventory.coalesced(), Default::default());
}

#[tokio::test]
async fn keys_in_one_line_find_what_the_first_under_them_made() {
    let fixture = Fixture::new().await;
    let item = fixture.item(12).await;
    let old = reserved(reserve(&fixture.inventory, item.id, 1, Some("old")).await.unwrap().unwrap());
    let (gate, _parked) = close_with_one(&fixture, item.id).await;
    let calls = [(2, Some("k")), (1, Some("old")), (2, Some("k")), (3, Some("k")), (1, Some("l")), (2, Some("old"))];
    let waiting = line_up(&fixture, item.id, &calls).await;
    gate.open().await;
    let outcomes = answers(waiting).await;
    let Reserve::Reserved(first) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(outcomes[1], Reserve::Replayed(old));
    assert_eq!(outcomes[2], Reserve::Replayed(first.clone()));
    assert_eq!(outcomes[3], Reserve::IdempotencyKeyReused);
    assert!(matches!(outcomes[4], Reserve::Reserved(_)), "{outcomes:?}");
    assert_eq!(outcomes[5], Reserve::IdempotencyKeyReused);
    assert_eq!(fixture.counters(item.id).await.0, 6);
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn a_call_that_the_database_rejects_fails_alone() {
    let fixture = Fixture::new().await;
    let item = fixture.item(12).await;
    let rule = "alter table stockhold.reservations add constraint no_three check (quantity <> 3) not valid";
    run(&mut fixture.connection().await, rule).await;
    let (gate, _parked) = close_with_one(&fixture, item.id).await;
    let waiting = line_up(&fixture, item.id, &[(1, None), (3, None), (2, Some("k")), (9, None)]).await;
    gate.open().await;
    let mut outcomes = Vec::new();
    for call in waiting {
        outcomes.push(call.await.unwrap());
    }
    assert!(matches!(&outcomes[0], Ok(Reserve::Reserved(_))), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Err(Error::Internal { .. })), "{outcomes:?}");
    assert!(matches!(&outcomes[2], Ok(Reserve::Reserved(_))), "{outcomes:?}");
    assert!(matches!(&outcomes[3], Ok(outcome) if *outcome == refused(7, 9)), "{outcomes:?}");
    assert_eq!(fixture.counters(item.id).await.0, 5);
    fixture.check_books(item.id).await;
}

/// FACTS row 19, for those of a batch that were refused.
#[tokio::test]
async fn calls_that_waited_find_a_hold_that_was_made_and_lapsed_meanwhile() {
    let fixture = Fixture::new().await;
    let item = fixture.item(6).await;
    let (mut gate, _parked) = close_with_one(&fixture, item.id).await;
    let waiting = line_up(&fixture, item.id, &[(1, None), (2, None), (1, None)]).await;
    // The batch comes to the next gate with the snapshot of its own.
    let mut next_gate = NextGate::request(&fixture, item.id, &mut gate).await;
    gate.open().await;
    let mut gate = next_gate.close().await;
    gate.wait_for(1).await;
    gate.make_hold(item.id, 3, 0.01).await;
    gate.sleep(0.05).await;
    gate.open().await;
    answers(waiting).await.into_iter().for_each(|outcome| drop(reserved(outcome)));
    assert_eq!(fixture.counters(item.id).await.0, 6);
    fixture.check_books(item.id).await;
}

/// A gate that is requested while another is closed, and stands in line behind the calls that wait there.
struct NextGate {
    gate: JoinHandle<Gate>,
}

impl NextGate {
    async fn request(fixture: &Fixture, item_id: Uuid, closed: &mut Gate) -> Self {
        let (url, waiting_before) = (fixture.url.clone(), closed.waiter_count().await);
        let sql = format!(
            "select pg_advisory_xact_lock(hashtextextended('{item_id}', 0));
             select from stockhold.items where id = '{item_id}' for update"
        );
        let gate = send(async move { Gate::close_at(&url, &sql).await });
        closed.wait_for(waiting_before + 1).await;
        Self { gate }
    }

    async fn close(&mut self) -> Gate {
        (&mut self.gate).await.unwrap()
    }
}

#[tokio::test]
async fn confirms_and_cancels_that_wait_leave_together_in_their_order() {
    let fixture = Fixture::new().await;
    let item = fixture.item(20).await;
    let mut holds = Vec::new();
    for _ in 0..7 {
        holds.push(fixture.hold(item.id, 2, 600.0).await);
    }
    let settle = |hold: &Reservation, confirm: bool| {
        let (inventory, id) = (fixture.inventory.clone(), hold.id);
        send(async move {
            match confirm {
                true => format!("{:?}", inventory.confirm(id, Default::default()).await.unwrap()),
                false => format!("{:?}", inventory.cancel(id).await.unwrap()),
            }
        })
    };
    let before = fixture.inventory.coalesced();
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let mut calls = vec![settle(&holds[0], true)];
    gate.wait_for(1).await;
    let mut unknown = holds[0].clone();
    unknown.id = id_in_bucket_of(item.id);
    let line = [
        (&holds[1], false),
        (&holds[2], true),
        (&holds[3], false),
        (&holds[2], false),
        (&holds[3], false),
        (&holds[4], true),
        (&holds[0], true),
        (&unknown, false),
        (&holds[3], true),
    ];
    for (index, (hold, confirm)) in line.into_iter().enumerate() {
        calls.push(settle(hold, confirm));
        wait_for_line(&fixture.inventory, index + 1).await;
    }
    gate.open().await;
    let mut words = Vec::new();
    for call in calls {
        words.push(call.await.unwrap().split('(').next().unwrap().to_owned());
    }
    let expected = [
        "Confirmed",
        "Cancelled",
        "Confirmed",
        "Cancelled",
        "AlreadyConfirmed",
        "AlreadyCancelled",
        "Confirmed",
        "AlreadyConfirmed",
        "ReservationNotFound",
        "AlreadyCancelled",
    ];
    assert_eq!(words, expected);
    assert_eq!(fixture.counters(item.id).await, (4, 6, 13));
    assert_eq!(fixture.inventory.coalesced().statement_count, before.statement_count + 2);
    fixture.check_books(item.id).await;
}

/// A hold's queue is its item's in every process, for the id says so.
#[tokio::test]
async fn a_reservation_is_in_its_items_bucket() {
    let fixture = Fixture::new().await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        let item = fixture.item(500).await;
        for _ in 0..100 {
            let hold = fixture.hold(item.id, 1, 600.0).await;
            assert_eq!(hold.id.as_bytes()[14..], item.id.as_bytes()[14..]);
            assert_eq!(hold.id.get_version_num(), 7);
            assert!(ids.insert(hold.id));
        }
    }
}

#[tokio::test]
async fn a_caller_that_is_dropped_in_line_takes_no_effect_and_strands_nobody() {
    let fixture = Fixture::new().await;
    let item = fixture.item(12).await;
    let (gate, first) = close_with_one(&fixture, item.id).await;
    let waiting = line_up(&fixture, item.id, &[(2, None), (3, None), (4, None)]).await;
    waiting[1].abort();
    // The one that has left is on its way: it takes its effect, and its caller is gone.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let [two, three, four] = <[Answer; 3]>::try_from(waiting).unwrap();
    assert!(three.await.unwrap_err().is_cancelled());
    gate.open().await;
    answers(vec![two, four]).await.into_iter().for_each(|outcome| drop(reserved(outcome)));
    assert_eq!(fixture.counters(item.id).await.0, 8);
    fixture.check_books(item.id).await;
}

/// A future that was polled once and then left alone delays no other call.
#[tokio::test]
async fn a_caller_that_is_not_polled_strands_nobody() {
    let fixture = Fixture::new().await;
    let item = fixture.item(12).await;
    // Behind a gate, the first poll cannot be the last.
    let gate = Gate::close_item(&fixture, item.id).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut call = Box::pin(fixture.inventory.reserve(new_reservation(item.id, 1, 600.0), None));
        assert!(futures::poll!(&mut call).is_pending());
        stalled.push(call);
    }
    gate.open().await;
    for _ in 0..3 {
        reserved(at_once(reserve(&fixture.inventory, item.id, 1, None)).await.unwrap().unwrap());
    }
    for call in stalled {
        reserved(call.await.unwrap());
    }
    assert_eq!(fixture.counters(item.id).await.0, 6);
}

/// A lone call runs in its caller's task, and goes on without it: this one has not left when its caller is dropped, because
/// the only connection is taken.
#[tokio::test]
async fn a_lone_caller_that_is_dropped_on_its_way_takes_its_effect() {
    let fixture = Fixture::new().await;
    let (busy, item) = (fixture.item(12).await, fixture.item(12).await);
    let inventory = fixture.another(1).await;
    let mut gate = Gate::close_item(&fixture, busy.id).await;
    let parked = reserve(&inventory, busy.id, 1, None);
    gate.wait_for(1).await;
    {
        let mut call = Box::pin(inventory.reserve(new_reservation(item.id, 1, 600.0), None));
        assert!(futures::poll!(&mut call).is_pending());
    }
    assert_eq!(fixture.counters(item.id).await.0, 0);
    gate.open().await;
    reserved(parked.await.unwrap().unwrap());
    at_once(async {
        while fixture.counters(item.id).await.0 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    fixture.check_books(item.id).await;
}

/// An answered call has the effect that its answer says, a dropped one has it or not, and none has it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_dropped_at_random_lose_and_double_nothing() {
    let fixture = Fixture::new().await;
    let item = fixture.item(4_000).await;
    let inventories = [fixture.another(6).await, fixture.another(6).await];
    let clients: Vec<_> = (0..60_u64)
        .map(|seed| {
            let inventory = inventories[seed as usize % 2].clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                let (mut known, mut dropped_count) = (Vec::new(), 0);
                for _ in 0..20 {
                    // From less than a call takes on an idle machine to more than it takes on a busy one.
                    let patience = Duration::from_micros(1 << random.u32(6..20));
                    let call = inventory.reserve(new_reservation(item.id, 1, 600.0), None);
                    let Ok(answer) = tokio::time::timeout(patience, call).await else {
                        dropped_count += 1;
                        continue;
                    };
                    let hold = reserved(answer.unwrap());
                    let call = inventory.confirm(hold.id, Default::default());
                    let confirmed = match tokio::time::timeout(patience, call).await {
                        Ok(answer) => {
                            assert!(matches!(answer.unwrap(), Confirm::Confirmed(_)));
                            true
                        }
                        Err(_) => false,
                    };
                    known.push((hold.id, confirmed));
                }
                (known, dropped_count)
            })
        })
        .collect();
    let (mut known, mut dropped_count) = (Vec::new(), 0);
    for client in clients {
        let (calls, dropped) = client.await.unwrap();
        known.extend(calls);
        dropped_count += dropped;
    }
    // What was on its way when it was dropped has ended once a reserve that came after it has.
    for inventory in &inventories {
        for _ in 0..3 {
            known
                .push((reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap()).id, false));
        }
    }
    assert!(dropped_count > 50 && known.len() > 50, "{dropped_count} dropped, {} answered", known.len());
    let mut distinct: Vec<_> = known.iter().map(|(id, _)| *id).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), known.len(), "an answer came twice");
    for (id, confirmed) in &known {
        let reservation = fixture.inventory.get_reservation(*id).await.unwrap().unwrap();
        assert!(!confirmed || reservation.confirmed_at.is_some(), "{reservation:?}");
    }
    let (held, confirmed, _) = fixture.counters(item.id).await;
    let made = (held + confirmed) as usize;
    assert!((known.len()..=known.len() + dropped_count).contains(&made), "{made} of {}", known.len());
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn a_flood_is_answered_overloaded_at_once_and_the_rest_is_served() {
    let fixture = Fixture::new().await;
    let item = fixture.item(1_000_000).await;
    let (mut gate, _parked) = close_with_one(&fixture, item.id).await;
    let waiting: Vec<_> = (0..10_000).map(|_| reserve(&fixture.inventory, item.id, 1, None)).collect();
    wait_for_line(&fixture.inventory, 10_000).await;
    let error = at_once(reserve(&fixture.inventory, item.id, 1, None)).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Overloaded { what: "a place in the queue", .. }), "{error:?}");
    // Another item's calls have their own line, and its confirms theirs.
    let other = fixture.item(5).await;
    let hold = at_once(fixture.hold(other.id, 1, 600.0)).await;
    assert!(matches!(at_once(fixture.inventory.confirm(hold.id, Default::default())).await, Ok(Confirm::Confirmed(_))));
    gate.wait_for(1).await;
    gate.open().await;
    answers(waiting).await.into_iter().for_each(|outcome| drop(reserved(outcome)));
    assert_eq!(fixture.counters(item.id).await, (10_002, 0, 10_002));
    let coalesced = fixture.inventory.coalesced();
    assert!(coalesced.statement_count < 80, "{coalesced:?}");
    fixture.check_books(item.id).await;
}

/// While one item's line is long, the calls of others pass it by.
#[tokio::test]
async fn a_long_line_at_one_item_does_not_hold_up_another() {
    let fixture = Fixture::new().await;
    let hot = fixture.item(5_000).await;
    let cold = fixture.item(200).await;
    let waiting: Vec<_> = (0..3_000).map(|_| reserve(&fixture.inventory, hot.id, 1, None)).collect();
    let mut passed_count = 0;
    for _ in 0..5 {
        reserved(reserve(&fixture.inventory, cold.id, 1, None).await.unwrap().unwrap());
        passed_count += usize::from(fixture.inventory.coalesced().waiting_count > 0);
    }
    assert!(passed_count > 0, "the line was gone before the first call of another item was answered");
    answers(waiting).await;
    assert_eq!(fixture.counters(hot.id).await.0, 3_000);
}

#[tokio::test]
async fn a_wait_in_line_is_bounded_and_takes_no_effect() {
    let fixture = Fixture::new().await;
    let item = fixture.item(50).await;
    let config = {
        let mut config = Config::new(&fixture.url);
        config.wait_max = Duration::from_millis(300);
        config
    };
    let inventory = Inventory::connect(&config).await.unwrap();
    let gate = Gate::close_item(&fixture, item.id).await;
    let started = Instant::now();
    let calls: Vec<_> = (0..20).map(|_| reserve(&inventory, item.id, 1, None)).collect();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Overloaded { .. }), "{error:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    gate.open().await;
    assert_eq!(fixture.counters(item.id).await, (0, 0, 1));
}

#[tokio::test]
async fn a_batch_whose_connection_broke_takes_effect_once() {
    let fixture = Fixture::new().await;
    let item = fixture.item(50).await;
    let (mut gate, _parked) = close_with_one(&fixture, item.id).await;
    let waiting = line_up(&fixture, item.id, &[(1, None), (2, Some("k")), (3, None)]).await;
    let mut next_gate = NextGate::request(&fixture, item.id, &mut gate).await;
    gate.open().await;
    let mut gate = next_gate.close().await;
    gate.wait_for(1).await;
    let sql = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'stockhold'";
    run(&mut fixture.connection().await, sql).await;
    gate.wait_for(1).await;
    gate.open().await;
    answers(waiting).await.into_iter().for_each(|outcome| drop(reserved(outcome)));
    assert_eq!(fixture.counters(item.id).await, (8, 0, 5));
    fixture.check_books(item.id).await;
}

/// One read answers all that wait, and no lock is asked for.
#[tokio::test]
async fn refusals_of_a_sold_out_item_share_a_read() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    fixture.hold(item.id, 5, 600.0).await;
    assert_eq!(reserve(&fixture.inventory, item.id, 1, None).await.unwrap().unwrap(), refused(0, 1));
    let before = fixture.inventory.coalesced();
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let calls: Vec<_> = (0..2_000).map(|_| reserve(&fixture.inventory, item.id, 2, None)).collect();
    for outcome in answers(calls).await {
        assert_eq!(outcome, refused(0, 2));
    }
    gate.wait_for(0).await;
    let after = fixture.inventory.coalesced();
    assert_eq!(after.call_count - before.call_count, 2_000);
    assert!(after.statement_count - before.statement_count < 500, "{after:?}");
}

/// Two processes sell exactly what there is, however their batches meet.
#[rstest]
#[case::with_the_queue_before_the_row(true)]
#[case::with_the_queue_removed(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_sell_one_item_exactly(#[case] queued: bool) {
    let fixture = Fixture::new().await;
    if !queued {
        fixture.remove_queue().await;
    }
    let item = fixture.item(1_000).await;
    let inventories = [fixture.another(5).await, fixture.another(5).await];
    let sold = Arc::new(AtomicI64::new(0));
    let clients: Vec<_> = (0..200_u64)
        .map(|seed| {
            let (inventory, sold) = (inventories[seed as usize % 2].clone(), sold.clone());
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut refused_count = 0;
                // One in four gives back; a few refusals in a row end it.
                while refused_count < 3 {
                    let quantity = random.i64(1..4);
                    match inventory.reserve(new_reservation(item.id, quantity, 600.0), None).await.unwrap() {
                        Reserve::Reserved(hold) if random.u8(0..4) == 0 => {
                            assert!(matches!(inventory.cancel(hold.id).await.unwrap(), Cancel::Cancelled(_)));
                        }
                        Reserve::Reserved(hold) => {
                            let outcome = inventory.confirm(hold.id, Default::default()).await.unwrap();
                            assert!(matches!(outcome, Confirm::Confirmed(_)), "{outcome:?}");
                            sold.fetch_add(quantity, Ordering::SeqCst);
                        }
                        Reserve::InsufficientAvailability { available_quantity, .. } => {
                            assert!(available_quantity < quantity);
                            refused_count += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    while let Reserve::Reserved(hold) = inventories[0].reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap()
    {
        inventories[1].confirm(hold.id, Default::default()).await.unwrap();
        sold.fetch_add(1, Ordering::SeqCst);
    }
    assert_eq!((sold.load(Ordering::SeqCst), fixture.counters(item.id).await.1), (1_000, 1_000));
    fixture.check_books(item.id).await;
    let coalesced = inventories[0].coalesced();
    assert!(coalesced.call_count > 2 * coalesced.statement_count, "hardly any left together: {coalesced:?}");
}
