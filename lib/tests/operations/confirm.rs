//! Confirming: the states of a reservation, the repeats, the deadline, and what happens while it waits.

use rstest::rstest;
use stockhold::reservation::Status;
use stockhold::{Cancel, Confirm};
use uuid::Uuid;

use crate::common::{Fixture, Gate, at_once, send};

#[tokio::test]
async fn confirm_deducts_once_however_often_it_is_called() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    fixture.hold(item.id, 4, 600.0).await;
    let Confirm::Confirmed(confirmed) = fixture.inventory.confirm(hold.id, Default::default()).await.unwrap() else {
        panic!("not confirmed")
    };
    assert_eq!(confirmed.status, Status::Confirmed);
    assert!(confirmed.confirmed_at.unwrap() >= hold.created_at);
    let again = fixture.inventory.confirm(hold.id, Default::default()).await.unwrap();
    assert_eq!(again, Confirm::AlreadyConfirmed(confirmed));
    assert_eq!(fixture.counters(item.id).await, (4, 3, 4));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn confirm_of_an_unknown_reservation_is_not_found() {
    let fixture = Fixture::new().await;
    let outcome = fixture.inventory.confirm(Uuid::now_v7(), Default::default()).await.unwrap();
    assert_eq!(outcome, Confirm::ReservationNotFound);
}

#[tokio::test]
async fn confirm_after_cancel_deducts_nothing() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    fixture.hold(item.id, 4, 600.0).await;
    let Cancel::Cancelled(cancelled) = fixture.inventory.cancel(hold.id).await.unwrap() else { panic!() };
    let outcome = fixture.inventory.confirm(hold.id, Default::default()).await.unwrap();
    assert_eq!(outcome, Confirm::AlreadyCancelled(cancelled));
    assert_eq!(fixture.counters(item.id).await, (4, 0, 4));
}

#[tokio::test]
async fn confirm_of_a_lapsed_hold_records_the_expiry_once() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 0.01).await;
    fixture.hold(item.id, 4, 600.0).await;
    fixture.wait_until_lapsed(&hold).await;
    for _ in 0..2 {
        let outcome = fixture.inventory.confirm(hold.id, Default::default()).await.unwrap();
        let Confirm::Expired { reservation, available_quantity: None } = outcome else { panic!("{outcome:?}") };
        assert_eq!((reservation.status, reservation.expired_at), (Status::Expired, Some(hold.expires_at)));
    }
    assert_eq!(fixture.counters(item.id).await, (4, 0, 4));
    assert_eq!(fixture.kinds(item.id).await, ["CREATED", "RESERVED", "RESERVED", "EXPIRED"]);
    fixture.check_books(item.id).await;
}

#[rstest]
#[case::confirmed("CONFIRMED")]
#[case::cancelled("CANCELLED")]
#[tokio::test]
async fn confirm_that_waited_sees_how_the_hold_ended_meanwhile(#[case] status: &str) {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    fixture.hold(item.id, 4, 600.0).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.confirm(hold.id, Default::default()).await.unwrap() });
    gate.wait_for(1).await;
    gate.end_hold(&hold, status).await;
    gate.open().await;
    let outcome = call.await.unwrap();
    match status {
        "CONFIRMED" => assert!(matches!(outcome, Confirm::AlreadyConfirmed(_)), "{outcome:?}"),
        _ => assert!(matches!(outcome, Confirm::AlreadyCancelled(_)), "{outcome:?}"),
    }
    let confirmed = if status == "CONFIRMED" { 3 } else { 0 };
    assert_eq!(fixture.counters(item.id).await, (4, confirmed, 4));
    fixture.check_books(item.id).await;
}

/// FACTS rows 14 and 18: `now()`, or a clock read before the lock, would still show the hold alive.
#[rstest]
#[case::the_item_was_only_locked(false)]
#[case::the_item_was_changed(true)]
#[tokio::test]
async fn confirm_that_waited_across_the_deadline_is_refused(#[case] changed: bool) {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 1.0).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.confirm(hold.id, Default::default()).await.unwrap() });
    gate.wait_for(1).await;
    fixture.wait_until_lapsed(&hold).await;
    if changed {
        gate.make_hold(item.id, 2, 600.0).await;
    }
    gate.open().await;
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Confirm::Expired { .. }), "{outcome:?}");
    assert_eq!(fixture.counters(item.id).await.1, 0);
    fixture.check_books(item.id).await;
}

/// The same at the reservation's own row, which a person at a console may have locked.
#[tokio::test]
async fn confirm_that_waited_at_its_own_row_reads_the_clock_after_it() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 1.0).await;
    let sql = format!("select from stockhold.reservations where id = '{}' for update", hold.id);
    let mut gate = Gate::close(&fixture, &sql).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.confirm(hold.id, Default::default()).await.unwrap() });
    gate.wait_for(1).await;
    fixture.wait_until_lapsed(&hold).await;
    gate.open().await;
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Confirm::Expired { .. }), "{outcome:?}");
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn confirm_that_waited_keeps_what_was_held_meanwhile() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.confirm(hold.id, Default::default()).await.unwrap() });
    gate.wait_for(1).await;
    gate.make_hold(item.id, 4, 600.0).await;
    gate.open().await;
    assert!(matches!(call.await.unwrap(), Confirm::Confirmed(_)));
    assert_eq!(fixture.counters(item.id).await, (4, 3, 4));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn confirm_of_an_ended_reservation_waits_for_nobody() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    fixture.inventory.confirm(hold.id, Default::default()).await.unwrap();
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let outcome = at_once(fixture.inventory.confirm(hold.id, Default::default())).await.unwrap();
    assert!(matches!(outcome, Confirm::AlreadyConfirmed(_)));
    gate.wait_for(0).await;
}
