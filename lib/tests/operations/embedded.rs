//! The library inside another service: on a pool of that service's, and inside its transactions.

use rstest::rstest;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, Row};
use stockhold::{
    Cancel, Confirm, ConfirmOptions, CreateItem, Error, Inventory, Reserve, cancel_in, confirm_in, reserve_in,
};
use uuid::Uuid;

use crate::common::{Fixture, new_item, new_reservation, reserved};

async fn pool(fixture: &Fixture, connections_max: u32) -> PgPool {
    PgPoolOptions::new().max_connections(connections_max).connect(&fixture.url).await.unwrap()
}

/// Every setting of a session that this library changes on its own connections.
async fn settings(pool: &PgPool) -> Vec<String> {
    let names = "unnest(array['timezone', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout',
        'enable_seqscan', 'plan_cache_mode', 'transaction_isolation', 'transaction_read_only'])";
    let rows = sqlx::query(&*format!("select current_setting(name) from {names} as name").leak()).fetch_all(pool).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_pool_of_the_callers_serves_every_operation_and_keeps_no_setting() {
    let fixture = Fixture::new().await;
    let pool = pool(&fixture, 1).await;
    let before = settings(&pool).await;
    let inventory = Inventory::with_pool(pool.clone());
    inventory.migrate().await.unwrap();
    let CreateItem::Created(item) = inventory.create_item(new_item(3), None).await.unwrap() else { panic!() };
    let sold = reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    let given_back = reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    let refused = inventory.reserve(new_reservation(item.id, 2, 600.0), None).await.unwrap();
    assert_eq!(refused, Reserve::InsufficientAvailability { available_quantity: 1, requested_quantity: 2 });
    assert!(matches!(inventory.confirm(sold.id, ConfirmOptions::default()).await.unwrap(), Confirm::Confirmed(_)));
    assert!(matches!(inventory.cancel(given_back.id).await.unwrap(), Cancel::Cancelled(_)));
    assert!(inventory.audit(item.id).await.unwrap().unwrap().consistent);
    assert_eq!(settings(&pool).await, before);
    inventory.close();
    assert!(inventory.health().await.is_ok(), "a pool of the caller's stays open");
}

#[tokio::test]
async fn many_callers_share_a_pool_of_two() {
    let fixture = Fixture::new().await;
    let item = fixture.item(20).await;
    let inventory = Inventory::with_pool(pool(&fixture, 2).await);
    let calls = (0..40).map(|_| inventory.reserve(new_reservation(item.id, 1, 600.0), None));
    let outcomes = futures::future::join_all(calls).await;
    let held = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Reserve::Reserved(_)))).count();
    assert_eq!(held, 20, "{outcomes:?}");
}

#[tokio::test]
async fn a_closed_inventory_answers_that_it_is_unavailable() {
    let fixture = Fixture::new().await;
    fixture.inventory.close();
    let error = fixture.inventory.get_item(Uuid::nil()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.is_retryable(), "{error}");
}

#[rstest]
#[case::committed(true)]
#[case::rolled_back(false)]
#[tokio::test]
async fn what_a_transaction_did_commits_or_rolls_back_with_it(#[case] commits: bool) {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let hold = fixture.hold(item.id, 1, 600.0).await;
    let other = fixture.hold(item.id, 1, 600.0).await;
    let before = fixture.kinds(item.id).await;
    let mut connection = PgConnection::connect(&fixture.url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let made = reserve_in(&mut transaction, new_reservation(item.id, 2, 600.0), None).await.unwrap();
    assert!(matches!(made, Reserve::Reserved(_)), "{made:?}");
    let refused = reserve_in(&mut transaction, new_reservation(item.id, 2, 600.0), None).await.unwrap();
    assert_eq!(refused, Reserve::InsufficientAvailability { available_quantity: 1, requested_quantity: 2 });
    let sold = confirm_in(&mut transaction, hold.id, ConfirmOptions::default()).await.unwrap();
    assert!(matches!(sold, Confirm::Confirmed(_)), "{sold:?}");
    let given_back = cancel_in(&mut transaction, other.id).await.unwrap();
    assert!(matches!(given_back, Cancel::Cancelled(_)), "{given_back:?}");
    let after = [before.clone(), ["RESERVED", "CONFIRMED", "CANCELLED"].map(str::to_owned).to_vec()].concat();
    if commits {
        transaction.commit().await.unwrap();
        assert_eq!(fixture.kinds(item.id).await, after);
    } else {
        transaction.rollback().await.unwrap();
        assert_eq!(fixture.kinds(item.id).await, before);
    }
    assert!(fixture.inventory.audit(item.id).await.unwrap().unwrap().consistent);
}

#[tokio::test]
async fn a_lapsed_hold_is_taken_anew_inside_a_transaction() {
    let fixture = Fixture::new().await;
    let item = fixture.item(1).await;
    let hold = fixture.hold(item.id, 1, 0.01).await;
    fixture.wait_until_lapsed(&hold).await;
    let mut connection = PgConnection::connect(&fixture.url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let confirm = confirm_in(&mut transaction, hold.id, ConfirmOptions::reacquire()).await.unwrap();
    assert!(matches!(confirm, Confirm::Confirmed(_)), "{confirm:?}");
    transaction.commit().await.unwrap();
    assert_eq!(fixture.kinds(item.id).await[2..], ["EXPIRED", "REACQUIRED"]);
}

#[rstest]
#[case("repeatable read")]
#[case("serializable")]
#[tokio::test]
async fn another_isolation_level_is_refused(#[case] level: &str) {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let mut connection = PgConnection::connect(&fixture.url).await.unwrap();
    let begin = format!("begin isolation level {level}").leak();
    sqlx::raw_sql(&*begin).execute(&mut connection).await.unwrap();
    let error = reserve_in(&mut connection, new_reservation(item.id, 1, 600.0), None).await.unwrap_err();
    assert!(matches!(&error, Error::NotReadCommitted(found) if found == level) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_key_that_was_used_is_replayed_inside_a_transaction() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let key = || Some("order-1".try_into().unwrap());
    let first = reserved(fixture.inventory.reserve(new_reservation(item.id, 1, 600.0), key()).await.unwrap());
    let mut connection = PgConnection::connect(&fixture.url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let again = reserve_in(&mut transaction, new_reservation(item.id, 1, 600.0), key()).await.unwrap();
    assert_eq!(again, Reserve::Replayed(first));
}
