//! Returning: the units that come back, once each, and to the shelf.

use futures::future::join_all;
use rstest::rstest;
use stockhold::reservation::{IdempotencyKey, Reservation, Status};
use stockhold::{Confirm, NewReturn, Return};
use uuid::Uuid;

use crate::common::{Fixture, Gate, new_reservation, reserved, send};

fn units(quantity: i64) -> NewReturn {
    NewReturn::new(quantity.try_into().unwrap())
}

fn key(text: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey::try_from(text).unwrap())
}

async fn sale(fixture: &Fixture, item_id: Uuid, quantity: i64) -> Reservation {
    let hold = fixture.hold(item_id, quantity, 600.0).await;
    match fixture.inventory.confirm(hold.id, Default::default()).await.unwrap() {
        Confirm::Confirmed(sale) => sale,
        other => panic!("not confirmed: {other:?}"),
    }
}

#[tokio::test]
async fn units_that_come_back_are_sold_again_and_the_sale_stands() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let sale = sale(&fixture, item.id, 5).await;
    assert_eq!((sale.confirmed_quantity, sale.returned_quantity), (5, 0));
    let Return::Returned(back) = fixture.inventory.return_units(sale.id, units(2), None).await.unwrap() else {
        panic!("not returned")
    };
    assert_eq!((back.status, back.confirmed_quantity, back.returned_quantity), (Status::Confirmed, 5, 2));
    assert_eq!(fixture.inventory.get_reservation(sale.id).await.unwrap(), Some(back.clone()));
    let again = fixture.inventory.confirm(sale.id, Default::default()).await.unwrap();
    assert_eq!(again, Confirm::AlreadyConfirmed(back));
    reserved(fixture.inventory.reserve(new_reservation(item.id, 2, 600.0), None).await.unwrap());
    assert_eq!(fixture.counters(item.id).await, (2, 3, 5));
    assert_eq!(fixture.kinds(item.id).await, ["CREATED", "RESERVED", "CONFIRMED", "RETURNED", "RESERVED"]);
    fixture.check_books(item.id).await;
}

/// Twenty clicks at once on a sale of five.
#[rstest]
#[case::with_the_queue_before_the_row(false)]
#[case::with_the_queue_removed(true)]
#[tokio::test]
async fn no_more_units_come_back_than_were_sold(#[case] without_queue: bool) {
    let fixture = Fixture::new().await;
    if without_queue {
        fixture.remove_queue().await;
    }
    let item = fixture.item(50).await;
    let sale = sale(&fixture, item.id, 5).await;
    let inventory = fixture.another(10).await;
    let calls = (0..20).map(|_| inventory.return_units(sale.id, units(1), None));
    let outcomes: Vec<Return> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    let back = outcomes.iter().filter(|outcome| matches!(outcome, Return::Returned(_))).count();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Return::ExceedsConfirmed(_))).count();
    assert_eq!((back, refused), (5, 15), "{outcomes:?}");
    assert_eq!(fixture.counters(item.id).await, (0, 0, 8));
    fixture.check_books(item.id).await;
}

/// Both saw five units sold; the second finds on the locked row that the first took three of them.
#[tokio::test]
async fn a_return_that_waited_counts_what_came_back_meanwhile() {
    let fixture = Fixture::new().await;
    fixture.remove_queue().await;
    let item = fixture.item(5).await;
    let sale = sale(&fixture, item.id, 5).await;
    let inventory = fixture.another(4).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let inventory = inventory.clone();
            send(async move { inventory.return_units(sale.id, units(3), None).await.unwrap() })
        })
        .collect();
    gate.wait_for(2).await;
    gate.open().await;
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(match call.await.unwrap() {
            Return::Returned(reservation) => ("returned", reservation.returned_quantity),
            Return::ExceedsConfirmed(reservation) => ("exceeds", reservation.returned_quantity),
            other => panic!("{other:?}"),
        });
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, [("exceeds", 3), ("returned", 3)]);
    assert_eq!(fixture.counters(item.id).await, (0, 2, 4));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn a_key_returns_once_and_a_repeat_tells_the_state_as_it_is_now() {
    let fixture = Fixture::new().await;
    let item = fixture.item(9).await;
    let (sale, other) = (sale(&fixture, item.id, 5).await, sale(&fixture, item.id, 4).await);
    let inventory = fixture.another(10).await;
    let calls = (0..12).map(|_| inventory.return_units(sale.id, units(1), key("parcel-1")));
    let outcomes: Vec<Return> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    let back = outcomes.iter().filter(|outcome| matches!(outcome, Return::Returned(_))).count();
    let replayed = outcomes.iter().filter(|outcome| matches!(outcome, Return::Replayed(_))).count();
    assert_eq!((back, replayed), (1, 11), "{outcomes:?}");
    fixture.inventory.return_units(sale.id, units(4), None).await.unwrap();
    let Return::Replayed(now) = fixture.inventory.return_units(sale.id, units(1), key("parcel-1")).await.unwrap()
    else {
        panic!("not replayed")
    };
    assert_eq!(now.returned_quantity, 5);
    for (id, quantity) in [(sale.id, 2), (other.id, 1)] {
        let reused = fixture.inventory.return_units(id, units(quantity), key("parcel-1")).await.unwrap();
        assert_eq!(reused, Return::IdempotencyKeyReused);
    }
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn nothing_comes_back_of_what_was_not_sold() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let held = fixture.hold(item.id, 1, 600.0).await;
    let cancelled = fixture.hold(item.id, 1, 600.0).await;
    fixture.inventory.cancel(cancelled.id).await.unwrap();
    let lapsed = fixture.hold(item.id, 1, 0.01).await;
    fixture.wait_until_lapsed(&lapsed).await;
    for (id, status) in [(held.id, Status::Pending), (cancelled.id, Status::Cancelled), (lapsed.id, Status::Expired)] {
        let outcome = fixture.inventory.return_units(id, units(1), None).await.unwrap();
        let Return::NotConfirmed(reservation) = outcome else { panic!("{outcome:?}") };
        assert_eq!(reservation.status, status);
    }
    let unknown = fixture.inventory.return_units(Uuid::now_v7(), units(1), None).await.unwrap();
    assert_eq!(unknown, Return::ReservationNotFound);
    fixture.check_books(item.id).await;
}
