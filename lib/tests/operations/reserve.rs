//! Reserving: the states of an item, the repeats of a call, and what a statement must not believe of its snapshot.

use std::sync::atomic::Ordering;

use rstest::rstest;
use stockhold::reservation::{IdempotencyKey, Status};
use stockhold::{Pooling, Reserve};
use uuid::Uuid;

use crate::common::{Fixture, Gate, Proxy, at_once, new_reservation, reserved, run, send};

fn key(text: &str) -> Option<IdempotencyKey> {
    Some(text.try_into().unwrap())
}

fn refused(available_quantity: i64, requested_quantity: i64) -> Reserve {
    Reserve::InsufficientAvailability { available_quantity, requested_quantity }
}

#[rstest]
#[case::all_of_it(10, 0, 0, 0, 10, None)]
#[case::one_too_many(10, 0, 0, 0, 11, Some(10))]
#[case::what_is_not_held(10, 4, 0, 0, 6, None)]
#[case::what_is_held(10, 4, 0, 0, 7, Some(6))]
#[case::what_is_not_sold(10, 0, 4, 0, 6, None)]
#[case::what_is_sold(10, 0, 4, 0, 7, Some(6))]
#[case::the_last_unit(10, 5, 4, 0, 1, None)]
#[case::sold_out(10, 5, 5, 0, 1, Some(0))]
#[case::what_has_lapsed(10, 3, 3, 4, 4, None)]
#[case::more_than_has_lapsed(10, 3, 3, 4, 5, Some(4))]
#[case::free_units_before_lapsed_ones(10, 2, 2, 3, 3, None)]
#[case::free_and_lapsed_together(10, 2, 2, 3, 6, None)]
#[tokio::test]
async fn reserve_gives_what_is_available(
    #[case] total: i64,
    #[case] held: i64,
    #[case] confirmed: i64,
    #[case] lapsed: i64,
    #[case] quantity: i64,
    #[case] refused_with: Option<i64>,
) {
    let fixture = Fixture::new().await;
    let item = fixture.item(total).await;
    if held > 0 {
        fixture.hold(item.id, held, 600.0).await;
    }
    if confirmed > 0 {
        let reservation = fixture.hold(item.id, confirmed, 600.0).await;
        fixture.inventory.confirm(reservation.id, Default::default()).await.unwrap();
    }
    if lapsed > 0 {
        let reservation = fixture.hold(item.id, lapsed, 0.01).await;
        fixture.wait_until_lapsed(&reservation).await;
    }
    let version_before = fixture.counters(item.id).await.2;
    let outcome = fixture.inventory.reserve(new_reservation(item.id, quantity, 600.0), None).await.unwrap();
    match refused_with {
        Some(available) => {
            assert_eq!(outcome, refused(available, quantity));
            assert_eq!(fixture.counters(item.id).await.2, version_before, "a refusal writes nothing");
        }
        None => {
            let reservation = reserved(outcome);
            assert_eq!((reservation.status, reservation.quantity), (Status::Pending, quantity));
            assert_eq!(fixture.inventory.get_reservation(reservation.id).await.unwrap(), Some(reservation));
        }
    }
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn reserve_of_an_unknown_item_is_not_found() {
    let fixture = Fixture::new().await;
    let outcome = fixture.inventory.reserve(new_reservation(Uuid::now_v7(), 1, 1.0), None).await.unwrap();
    assert_eq!(outcome, Reserve::ItemNotFound);
}

#[tokio::test]
async fn reserve_lasts_as_long_as_it_was_asked_to() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    for ttl_seconds in [0.01, 0.5, 600.0, 2_592_000.0] {
        let reservation = fixture.hold(item.id, 1, ttl_seconds).await;
        let lifetime = (reservation.expires_at - reservation.created_at).num_microseconds().unwrap();
        assert_eq!(lifetime, (ttl_seconds * 1e6) as i64);
    }
}

#[tokio::test]
async fn reserve_expires_only_when_it_needs_the_units() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let lapsed = fixture.hold(item.id, 4, 0.01).await;
    fixture.wait_until_lapsed(&lapsed).await;
    fixture.hold(item.id, 6, 600.0).await;
    assert_eq!(fixture.kinds(item.id).await, ["CREATED", "RESERVED", "RESERVED"]);
    fixture.hold(item.id, 1, 600.0).await;
    assert_eq!(fixture.kinds(item.id).await, ["CREATED", "RESERVED", "RESERVED", "EXPIRED", "RESERVED"]);
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn reserve_expires_no_more_holds_than_it_can_need() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    for _ in 0..5 {
        let lapsed = fixture.hold(item.id, 1, 0.01).await;
        fixture.wait_until_lapsed(&lapsed).await;
    }
    fixture.hold(item.id, 5, 600.0).await;
    fixture.hold(item.id, 2, 600.0).await;
    let expired_count = fixture.kinds(item.id).await.iter().filter(|kind| *kind == "EXPIRED").count();
    assert_eq!(expired_count, 2);
}

#[tokio::test]
async fn reserve_works_through_more_lapsed_holds_than_one_statement_expires() {
    let fixture = Fixture::new().await;
    let item = fixture.item(500).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    for _ in 0..500 {
        gate.make_hold(item.id, 1, 0.01).await;
    }
    gate.sleep(0.02).await;
    gate.open().await;
    let outcome = fixture.inventory.reserve(new_reservation(item.id, 500, 600.0), None).await.unwrap();
    assert_eq!(reserved(outcome).quantity, 500);
    assert_eq!(fixture.counters(item.id).await, (500, 0, 1002));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn reserve_under_a_key_makes_one_hold_and_tells_it_as_it_is_now() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let call = |quantity, name: &str| fixture.inventory.reserve(new_reservation(item.id, quantity, 600.0), key(name));
    let first = reserved(call(2, "k").await.unwrap());
    assert_eq!(call(2, "k").await.unwrap(), Reserve::Replayed(first.clone()));
    assert_eq!(call(3, "k").await.unwrap(), Reserve::IdempotencyKeyReused);
    fixture.inventory.confirm(first.id, Default::default()).await.unwrap();
    let now = fixture.inventory.get_reservation(first.id).await.unwrap().unwrap();
    assert_eq!(now.status, Status::Confirmed);
    assert_eq!(call(2, "k").await.unwrap(), Reserve::Replayed(now));
    assert_eq!(fixture.counters(item.id).await, (0, 2, 3));
}

#[tokio::test]
async fn reserve_refused_under_a_key_may_succeed_later() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let held = fixture.hold(item.id, 5, 600.0).await;
    let call = || fixture.inventory.reserve(new_reservation(item.id, 1, 600.0), key("k"));
    assert_eq!(call().await.unwrap(), refused(0, 1));
    fixture.inventory.cancel(held.id).await.unwrap();
    reserved(call().await.unwrap());
}

#[tokio::test]
async fn reserve_is_replayed_although_the_item_is_sold_out_since() {
    let fixture = Fixture::new().await;
    let item = fixture.item(1).await;
    let call = || fixture.inventory.reserve(new_reservation(item.id, 1, 600.0), key("k"));
    let first = reserved(call().await.unwrap());
    assert_eq!(call().await.unwrap(), Reserve::Replayed(first));
}

#[tokio::test]
async fn reserve_twice_at_once_under_a_key_holds_once() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let alone = fixture.alone().await;
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let inventory = alone.clone();
            let call = new_reservation(item.id, 1, 600.0);
            send(async move { inventory.reserve(call, key("k")).await.unwrap() })
        })
        .collect();
    gate.wait_for(3).await;
    gate.open().await;
    let mut ids = Vec::new();
    let mut replayed_count = 0;
    for call in calls {
        match call.await.unwrap() {
            Reserve::Reserved(reservation) => ids.push(reservation.id),
            Reserve::Replayed(reservation) => {
                ids.push(reservation.id);
                replayed_count += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    ids.dedup();
    assert_eq!((ids.len(), replayed_count), (1, 2));
    assert_eq!(fixture.counters(item.id).await, (1, 0, 2));
}

/// The hint that the first refusal leaves must not outlive what made it true.
#[rstest]
#[case::a_cancelled_hold(true)]
#[case::a_lapsed_hold(false)]
#[tokio::test]
async fn reserve_after_refusals_gets_units_that_came_back(#[case] cancelled: bool) {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let hold = fixture.hold(item.id, 2, if cancelled { 600.0 } else { 2.0 }).await;
    fixture.hold(item.id, 3, 600.0).await;
    let call = |quantity, name: &str| fixture.inventory.reserve(new_reservation(item.id, quantity, 600.0), key(name));
    for _ in 0..3 {
        assert_eq!(call(1, "k").await.unwrap(), refused(0, 1));
    }
    if cancelled {
        fixture.inventory.cancel(hold.id).await.unwrap();
    } else {
        fixture.wait_until_lapsed(&hold).await;
    }
    assert_eq!(call(3, "l").await.unwrap(), refused(2, 3));
    let made = reserved(call(2, "k").await.unwrap());
    for _ in 0..3 {
        assert_eq!(call(1, "m").await.unwrap(), refused(0, 1));
        assert_eq!(call(2, "k").await.unwrap(), Reserve::Replayed(made.clone()), "a repeat is no refusal");
    }
    fixture.check_books(item.id).await;
}

/// `refuse` looks at 200 lapsed holds at most, and may not take them for all there are.
#[tokio::test]
async fn reserve_after_a_refusal_gets_the_units_of_more_lapsed_holds_than_a_look_counts() {
    let fixture = Fixture::new().await;
    let item = fixture.item(300).await;
    let hold = fixture.hold(item.id, 300, 600.0).await;
    let call = |quantity| fixture.inventory.reserve(new_reservation(item.id, quantity, 600.0), None);
    let mut gate = Gate::close_item(&fixture, item.id).await;
    gate.end_hold(&hold, "CANCELLED").await;
    gate.run(&format!(
        "insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
         select (left(gen_random_uuid()::text, 32) || right('{0}', 4))::uuid, stockhold.bucket('{0}'), '{0}', 'other', 1,
             now(), now() + interval '1 microsecond'
         from generate_series(1, 300);
         update stockhold.items set held_quantity = 300 where id = '{0}'",
        item.id
    ))
    .await;
    // What is behind the gate is not seen yet; the hint that this leaves is still young when it is.
    assert_eq!(call(1).await.unwrap(), refused(0, 1));
    gate.open().await;
    reserved(call(300).await.unwrap());
}

#[tokio::test]
async fn reserve_that_is_expected_to_be_refused_costs_one_read() {
    let fixture = Fixture::new().await;
    let item = fixture.item(2).await;
    fixture.hold(item.id, 2, 600.0).await;
    let proxy = Proxy::start(&fixture).await;
    let inventory = proxy.inventory(&fixture, Pooling::Session).await;
    let mut round_trips = 0;
    for _ in 0..3 {
        proxy.round_trips.store(0, Ordering::SeqCst);
        let outcome = inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap();
        assert_eq!(outcome, refused(0, 1));
        round_trips = proxy.round_trips.load(Ordering::SeqCst);
    }
    // The first call leaves the hint, the second prepares the look.
    assert_eq!(round_trips, 1);
}

/// Both ways to refuse, the second by a read alone, are silent.
#[tokio::test]
async fn reserve_of_a_sold_out_item_goes_on_refusing_while_the_item_is_locked() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    fixture.hold(item.id, 5, 600.0).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    for _ in 0..5 {
        let call = fixture.inventory.reserve(new_reservation(item.id, 1, 600.0), None);
        assert_eq!(at_once(call).await.unwrap(), refused(0, 1));
    }
    gate.wait_for(0).await;
    gate.open().await;
    assert_eq!(fixture.counters(item.id).await.2, 2);
}

#[tokio::test]
async fn reserve_that_waited_decides_by_the_locked_row() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 3, 600.0), None).await });
    gate.wait_for(1).await;
    gate.make_hold(item.id, 3, 600.0).await;
    gate.open().await;
    assert_eq!(call.await.unwrap().unwrap(), refused(2, 3));
    assert_eq!(fixture.counters(item.id).await, (3, 0, 2));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn reserve_that_waited_adds_to_what_was_held_meanwhile() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 2, 600.0), None).await });
    gate.wait_for(1).await;
    gate.make_hold(item.id, 3, 600.0).await;
    gate.open().await;
    reserved(call.await.unwrap().unwrap());
    assert_eq!(fixture.counters(item.id).await, (5, 0, 3));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn reserve_that_waited_counts_its_deadline_from_the_end_of_the_wait() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 1, 600.0), None).await });
    gate.wait_for(1).await;
    gate.sleep(0.3).await;
    gate.make_hold(item.id, 1, 600.0).await;
    gate.open().await;
    let reservation = reserved(call.await.unwrap().unwrap());
    let mut connection = fixture.connection().await;
    let sql = "select bool_and(recorded_at >= previous_at) from (
                   select recorded_at, lag(recorded_at) over (order by version) as previous_at
                   from stockhold.ledger where item_id = $1
               ) as entries where previous_at is not null";
    let in_order: bool = sqlx::query_scalar(sql).bind(item.id).fetch_one(&mut connection).await.unwrap();
    assert!(in_order, "the ledger's times follow its versions; created at {}", reservation.created_at);
}

/// FACTS row 19: the new hold is not in the waiting statement's snapshot, its units stand in the locked row.
#[tokio::test]
async fn reserve_that_waited_finds_a_hold_that_was_made_and_lapsed_meanwhile() {
    let fixture = Fixture::new().await;
    let item = fixture.item(1).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 1, 600.0), None).await });
    gate.wait_for(1).await;
    gate.make_hold(item.id, 1, 0.01).await;
    gate.sleep(0.05).await;
    gate.open().await;
    reserved(call.await.unwrap().unwrap());
    assert_eq!(fixture.kinds(item.id).await, ["CREATED", "RESERVED", "EXPIRED", "RESERVED"]);
    fixture.check_books(item.id).await;
}

#[rstest]
#[case::a_sweep("EXPIRED", true)]
#[tokio::test]
async fn reserve_that_waited_does_not_expire_what_was_expired_meanwhile(#[case] status: &str, #[case] fits: bool) {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let lapsed = fixture.hold(item.id, 2, 0.01).await;
    fixture.hold(item.id, 3, 600.0).await;
    fixture.wait_until_lapsed(&lapsed).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 1, 600.0), None).await });
    gate.wait_for(1).await;
    gate.end_hold(&lapsed, status).await;
    gate.open().await;
    assert_eq!(matches!(call.await.unwrap().unwrap(), Reserve::Reserved(_)), fits);
    assert_eq!(fixture.counters(item.id).await, (4, 0, 5));
    fixture.check_books(item.id).await;
}

/// The lapsed hold was swept and its units taken again, so the locked row shows less than is needed and the hold must
/// not be expired a second time.
#[tokio::test]
async fn reserve_that_waited_does_not_release_a_swept_hold_again() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let lapsed = fixture.hold(item.id, 2, 0.01).await;
    fixture.hold(item.id, 3, 600.0).await;
    fixture.wait_until_lapsed(&lapsed).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 2, 600.0), None).await });
    gate.wait_for(1).await;
    gate.end_hold(&lapsed, "EXPIRED").await;
    gate.make_hold(item.id, 2, 600.0).await;
    gate.open().await;
    assert_eq!(call.await.unwrap().unwrap(), refused(0, 2));
    assert_eq!(fixture.counters(item.id).await, (5, 0, 5));
    fixture.check_books(item.id).await;
}

/// A deadline that was moved while the statement waited (as `extend` does) is the one that counts.
#[tokio::test]
async fn reserve_that_waited_does_not_expire_a_hold_whose_deadline_moved() {
    let fixture = Fixture::new().await;
    let item = fixture.item(2).await;
    let lapsed = fixture.hold(item.id, 2, 0.01).await;
    fixture.wait_until_lapsed(&lapsed).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 1, 600.0), None).await });
    gate.wait_for(1).await;
    gate.run(&format!(
        "update stockhold.reservations set expires_at = clock_timestamp() + interval '1 hour' where id = '{}'",
        lapsed.id
    ))
    .await;
    gate.open().await;
    assert_eq!(call.await.unwrap().unwrap(), refused(0, 1));
    fixture.check_books(item.id).await;
}

/// Each time it comes to the row, a hold that its snapshot cannot show was made there and has lapsed; after the lean
/// statement and twice the general one, it comes behind a lock of its own, with a snapshot as new as the lock, and its values stand in the text.
#[tokio::test]
async fn reserve_that_comes_too_late_twice_is_sent_behind_the_lock() {
    let fixture = Fixture::new().await;
    let item = fixture.item(1).await;
    let proxy = Proxy::start(&fixture).await;
    let inventory = proxy.inventory(&fixture, Pooling::Session).await;
    let customer_id = "O'Neil \\ \" $1 \u{1F600} --";
    let mut call = new_reservation(item.id, 1, 600.0);
    call.customer_id = customer_id.try_into().unwrap();
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let call = send(async move { inventory.reserve(call, key("it's\\")).await });
    gate.wait_for(1).await;
    let mut lapsed = None;
    for _ in 0..3 {
        if let Some(id) = lapsed {
            let hold = fixture.inventory.get_reservation(id).await.unwrap().unwrap();
            gate.end_hold(&hold, "EXPIRED").await;
        }
        lapsed = Some(gate.make_hold(item.id, 1, 0.01).await);
        gate.sleep(0.05).await;
        // The next attempt does not come before the next gate is closed.
        proxy.hold(true);
        gate.open().await;
        gate = Gate::close_item(&fixture, item.id).await;
        proxy.hold(false);
        gate.wait_for(1).await;
    }
    let sql = "select query from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    let query: String = sqlx::query_scalar(sql).fetch_one(&mut fixture.connection().await).await.unwrap();
    assert!(query.starts_with("begin; select pg_advisory_xact_lock("), "{query}");
    let hold = fixture.inventory.get_reservation(lapsed.unwrap()).await.unwrap().unwrap();
    gate.end_hold(&hold, "EXPIRED").await;
    gate.make_hold(item.id, 1, 0.01).await;
    gate.sleep(0.05).await;
    proxy.round_trips.store(0, Ordering::SeqCst);
    gate.open().await;
    let reservation = reserved(call.await.unwrap().unwrap());
    assert_eq!(proxy.round_trips.load(Ordering::SeqCst), 0, "it came late once more, and not too late");
    assert_eq!(reservation.customer_id, customer_id);
    assert_eq!(fixture.inventory.get_reservation(reservation.id).await.unwrap(), Some(reservation));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn two_reserves_of_the_last_unit_wait_in_line_and_one_is_refused() {
    let fixture = Fixture::new().await;
    let alone = fixture.alone().await;
    let item = fixture.item(1).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let inventory = alone.clone();
            send(async move { inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap() })
        })
        .collect();
    gate.wait_for(2).await;
    gate.open().await;
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    let refusals = outcomes.iter().filter(|outcome| **outcome == refused(0, 1)).count();
    assert_eq!(refusals, 1, "{outcomes:?}");
    assert_eq!(fixture.counters(item.id).await, (1, 0, 2));
}

/// The constraint is the last line: a statement that is wrong meets it.
#[tokio::test]
async fn an_oversold_counter_cannot_be_written() {
    let fixture = Fixture::new().await;
    let item = fixture.item(1).await;
    let mut connection = fixture.connection().await;
    let sql = format!("update stockhold.items set held_quantity = 2 where id = '{}'", item.id);
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("item_never_oversold"));
    run(&mut connection, "select 1").await;
}
