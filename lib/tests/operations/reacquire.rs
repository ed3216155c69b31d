//! A late confirm that takes the units anew.

use stockhold::reservation::{Reservation, Status};
use stockhold::{Confirm, ConfirmOptions, Pooling};

use crate::common::{Fixture, Gate, Proxy, at_once, send};

/// An item of 10 with a lapsed hold of 3 and a live one of 4.
async fn lapsed_hold(fixture: &Fixture) -> Reservation {
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 0.01).await;
    fixture.hold(item.id, 4, 600.0).await;
    fixture.wait_until_lapsed(&hold).await;
    hold
}

#[tokio::test]
async fn reacquire_confirms_a_lapsed_hold_whose_units_are_free() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    let Confirm::Confirmed(confirmed) = fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire()).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((confirmed.status, confirmed.expired_at), (Status::Confirmed, Some(hold.expires_at)));
    assert_eq!(fixture.counters(hold.item_id).await, (4, 3, 5));
    assert_eq!(fixture.kinds(hold.item_id).await[3..], ["EXPIRED", "REACQUIRED"]);
    for options in [ConfirmOptions::reacquire(), ConfirmOptions::default()] {
        let again = fixture.inventory.confirm(hold.id, options).await.unwrap();
        assert_eq!(again, Confirm::AlreadyConfirmed(confirmed.clone()));
    }
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquire_of_a_swept_hold_takes_free_units() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    assert!(matches!(
        fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire()).await.unwrap(),
        Confirm::Confirmed(_)
    ));
    assert_eq!(fixture.counters(hold.item_id).await, (4, 3, 5));
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquire_is_refused_when_the_units_were_sold_again() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.hold(hold.item_id, 4, 600.0).await;
    let outcome = fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire()).await.unwrap();
    let Confirm::Expired { available_quantity, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(available_quantity, Some(2));
    assert_eq!(fixture.counters(hold.item_id).await, (8, 0, 5));
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquire_expires_other_lapsed_holds_whose_units_it_needs() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let other = fixture.hold(hold.item_id, 6, 0.01).await;
    fixture.wait_until_lapsed(&other).await;
    assert!(matches!(
        fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire()).await.unwrap(),
        Confirm::Confirmed(_)
    ));
    assert_eq!(fixture.counters(hold.item_id).await, (4, 3, 7));
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquire_leaves_a_cancelled_reservation_cancelled() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    fixture.inventory.cancel(hold.id).await.unwrap();
    let outcome = fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire()).await.unwrap();
    assert!(matches!(outcome, Confirm::AlreadyCancelled(_)), "{outcome:?}");
}

#[tokio::test]
async fn reacquire_that_waited_decides_by_the_locked_row() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let inventory = fixture.inventory.clone();
    let id = hold.id;
    let call = send(async move { inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap() });
    gate.wait_for(1).await;
    gate.make_hold(hold.item_id, 4, 600.0).await;
    gate.open().await;
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Confirm::Expired { available_quantity: Some(2), .. }), "{outcome:?}");
    assert_eq!(fixture.counters(hold.item_id).await, (8, 0, 5));
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquire_that_waited_finds_a_hold_that_was_made_and_lapsed_meanwhile() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let inventory = fixture.inventory.clone();
    let id = hold.id;
    let call = send(async move { inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap() });
    gate.wait_for(1).await;
    gate.make_hold(hold.item_id, 5, 0.01).await;
    gate.sleep(0.05).await;
    gate.open().await;
    assert!(matches!(call.await.unwrap(), Confirm::Confirmed(_)));
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquires_at_once_take_the_units_once() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let inventory = fixture.inventory.clone();
            let id = hold.id;
            send(async move { inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap() })
        })
        .collect();
    gate.wait_for(3).await;
    gate.open().await;
    let mut confirmed_count = 0;
    for call in calls {
        match at_once(call).await.unwrap() {
            Confirm::Confirmed(_) => confirmed_count += 1,
            Confirm::AlreadyConfirmed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(confirmed_count, 1);
    assert_eq!(fixture.counters(hold.item_id).await, (4, 3, 5));
    fixture.check_books(hold.item_id).await;
}

/// Swept once, its units sold on as another lapsed hold's; while the statement waits that one is swept too.
#[tokio::test]
async fn reacquire_that_waited_does_not_release_a_swept_hold_again() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let other = fixture.hold(hold.item_id, 6, 0.01).await;
    fixture.wait_until_lapsed(&other).await;
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let inventory = fixture.inventory.clone();
    let id = hold.id;
    let call = send(async move { inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap() });
    gate.wait_for(1).await;
    gate.end_hold(&other, "EXPIRED").await;
    gate.make_hold(hold.item_id, 5, 600.0).await;
    gate.open().await;
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Confirm::Expired { available_quantity: Some(1), .. }), "{outcome:?}");
    assert_eq!(fixture.counters(hold.item_id).await.0, 9);
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquire_that_waited_does_not_expire_a_hold_whose_deadline_moved() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let other = fixture.hold(hold.item_id, 6, 0.01).await;
    fixture.wait_until_lapsed(&other).await;
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let inventory = fixture.inventory.clone();
    let id = hold.id;
    let call = send(async move { inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap() });
    gate.wait_for(1).await;
    let sql = "update stockhold.reservations set expires_at = clock_timestamp() + interval '1 hour' where id = ";
    gate.run(&format!("{sql}'{}'", other.id)).await;
    gate.open().await;
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Confirm::Expired { .. }), "{outcome:?}");
    fixture.check_books(hold.item_id).await;
}

#[tokio::test]
async fn reacquire_that_waited_is_recorded_after_what_it_waited_for() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let inventory = fixture.inventory.clone();
    let id = hold.id;
    let call = send(async move { inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap() });
    gate.wait_for(1).await;
    gate.sleep(0.05).await;
    let made = gate.make_hold(hold.item_id, 1, 600.0).await;
    gate.open().await;
    let Confirm::Confirmed(confirmed) = call.await.unwrap() else { panic!() };
    let made = fixture.inventory.get_reservation(made).await.unwrap().unwrap();
    assert!(confirmed.confirmed_at.unwrap() > made.created_at, "{confirmed:?}");
}

#[tokio::test]
async fn reacquire_works_through_more_lapsed_holds_than_one_statement_expires() {
    let fixture = Fixture::new().await;
    let item = fixture.item(500).await;
    let hold = fixture.hold(item.id, 500, 0.01).await;
    fixture.wait_until_lapsed(&hold).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let mut gate = Gate::close_item(&fixture, item.id).await;
    for _ in 0..500 {
        gate.make_hold(item.id, 1, 0.01).await;
    }
    gate.sleep(0.02).await;
    gate.open().await;
    assert!(matches!(
        fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire()).await.unwrap(),
        Confirm::Confirmed(_)
    ));
    assert_eq!(fixture.counters(item.id).await, (0, 500, 1004));
    fixture.check_books(item.id).await;
}

/// Between its two statements another late payment took the units; what is CONFIRMED is answered without a lock.
#[tokio::test]
async fn reacquire_of_what_another_call_reacquired_waits_for_nobody() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    let proxy = Proxy::start(&fixture).await;
    let inventory = proxy.inventory(&fixture, Pooling::Session).await;
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let id = hold.id;
    let call = send(async move { inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap() });
    gate.wait_for(1).await;
    // Its first statement is under way and will record the expiry; its second is held back.
    proxy.hold(true);
    gate.open().await;
    let recorded = async {
        while fixture.counters(hold.item_id).await.2 < 4 {
            tokio::task::yield_now().await;
        }
    };
    at_once(recorded).await;
    assert!(matches!(fixture.inventory.confirm(id, ConfirmOptions::reacquire()).await.unwrap(), Confirm::Confirmed(_)));
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    proxy.hold(false);
    assert!(matches!(at_once(call).await.unwrap(), Confirm::AlreadyConfirmed(_)));
    gate.wait_for(0).await;
}

#[tokio::test]
async fn reacquire_of_sold_units_waits_for_nobody() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    fixture.hold(hold.item_id, 4, 600.0).await;
    let mut gate = Gate::close_item(&fixture, hold.item_id).await;
    let outcome = at_once(fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire())).await.unwrap();
    assert!(matches!(outcome, Confirm::Expired { available_quantity: Some(2), .. }), "{outcome:?}");
    gate.wait_for(0).await;
}

#[tokio::test]
async fn reacquire_expires_only_when_it_needs_the_units() {
    let fixture = Fixture::new().await;
    let hold = lapsed_hold(&fixture).await;
    fixture.inventory.expire(Default::default()).await.unwrap();
    let other = fixture.hold(hold.item_id, 1, 0.01).await;
    fixture.wait_until_lapsed(&other).await;
    assert!(matches!(
        fixture.inventory.confirm(hold.id, ConfirmOptions::reacquire()).await.unwrap(),
        Confirm::Confirmed(_)
    ));
    assert_eq!(fixture.kinds(hold.item_id).await[3..], ["EXPIRED", "RESERVED", "REACQUIRED"]);
}
