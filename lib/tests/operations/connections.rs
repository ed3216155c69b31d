//! Connections: broken, dropped, exhausted, and how often a call crosses the network.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rstest::rstest;
use stockhold::{Config, CreateItem, Error, Inventory, Pooling, Reserve};

use crate::common::{Fixture, Gate, Proxy, admin_url, new_item, new_reservation, reserved, run, send};

const TERMINATE_OTHERS: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'stockhold' and pid <> pg_backend_pid()";

#[tokio::test]
async fn a_call_whose_connection_broke_takes_effect_once() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.reserve(new_reservation(item.id, 2, 600.0), None).await });
    gate.wait_for(1).await;
    run(&mut fixture.connection().await, TERMINATE_OTHERS).await;
    gate.wait_for(1).await;
    gate.open().await;
    reserved(call.await.unwrap().unwrap());
    assert_eq!(fixture.counters(item.id).await, (2, 0, 2));
}

/// The first attempt was committed and its answer was lost, so the second comes under an id that is taken, by itself.
#[tokio::test]
async fn a_call_whose_answer_was_lost_takes_effect_once() {
    let fixture = Fixture::new().await;
    let item = fixture.item(9).await;
    let proxy = Proxy::start(&fixture).await;
    let inventory = proxy.inventory(&fixture, Pooling::Session).await;
    // The first of each kind is prepared, which is an answer of its own.
    reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    inventory.create_item(new_item(3), None).await.unwrap();

    proxy.lose_next_answer();
    let made = reserved(inventory.reserve(new_reservation(item.id, 2, 600.0), None).await.unwrap());
    assert_eq!(fixture.counters(item.id).await, (3, 0, 3));
    assert_eq!(fixture.inventory.get_reservation(made.id).await.unwrap(), Some(made));
    fixture.check_books(item.id).await;

    inventory.create_item(new_item(4), None).await.unwrap();
    proxy.lose_next_answer();
    let outcome = inventory.create_item(new_item(5), None).await.unwrap();
    assert!(matches!(outcome, CreateItem::Created(_)), "{outcome:?}");
    let sql = "select count(*) from stockhold.items where total_quantity = 5";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut fixture.connection().await).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn idle_connections_that_broke_are_replaced_unnoticed() {
    let fixture = Fixture::new().await;
    let item = fixture.item(500).await;
    for _ in 0..3 {
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let inventory = fixture.inventory.clone();
                send(async move { inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap() })
            })
            .collect();
        for call in calls {
            reserved(call.await.unwrap());
        }
        run(&mut fixture.connection().await, TERMINATE_OTHERS).await;
    }
    assert_eq!(fixture.counters(item.id).await, (30, 0, 31));
}

#[tokio::test]
async fn a_dropped_call_leaves_the_books_in_order_and_the_pool_usable() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let inventory = fixture.another(1).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let caller = inventory.clone();
    let call = send(async move { caller.reserve(new_reservation(item.id, 2, 600.0), None).await });
    gate.wait_for(1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    gate.open().await;
    reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    let held = fixture.counters(item.id).await.0;
    assert!(held == 1 || held == 3, "{held}");
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn a_wait_for_a_lock_is_bounded_and_takes_no_effect() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let config = {
        let mut config = Config::new(&fixture.url);
        config.wait_max = Duration::from_millis(300);
        config
    };
    let inventory = Inventory::connect(&config).await.unwrap();
    let gate = Gate::close_item(&fixture, item.id).await;
    let error = inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { what: "a lock", .. }), "{error:?}");
    gate.open().await;
    assert_eq!(fixture.counters(item.id).await, (0, 0, 1));
    reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
}

#[tokio::test]
async fn a_wait_for_a_connection_is_bounded() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let config = {
        let mut config = Config::new(&fixture.url);
        config.wait_max = Duration::from_millis(400);
        config.connections_max = 1;
        config
    };
    let inventory = Inventory::connect(&config).await.unwrap();
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let caller = inventory.clone();
    let first = send(async move { caller.reserve(new_reservation(item.id, 1, 600.0), None).await });
    gate.wait_for(1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let caller = inventory.clone();
    let second = send(async move { caller.get_item(item.id).await });
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(matches!(first, Err(Error::Overloaded { what: "a lock", .. })), "{first:?}");
    // The first gives its connection back when its own wait ends, which may be in time.
    assert!(matches!(second, Ok(Some(_)) | Err(Error::Overloaded { what: "a database connection", .. })), "{second:?}");
    drop(gate);
}

#[tokio::test]
async fn an_unreachable_database_is_an_error_that_keeps_the_password() {
    let config = {
        let mut config = Config::new("postgres://user:hunter2@127.0.0.1:1/nowhere");
        config.wait_max = Duration::from_millis(500);
        config
    };
    let error = Inventory::connect(&config).await.err().unwrap();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(!error.to_string().contains("hunter2") && !format!("{error:?}").contains("hunter2"));
    let error = Inventory::connect_lazily(&Config::new("postgres://user:hunter2@host:port/x")).err().unwrap();
    assert!(matches!(error, Error::Configuration(_)), "{error:?}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[rstest]
#[case::session(Pooling::Session)]
#[case::transaction(Pooling::Transaction)]
#[tokio::test]
async fn a_call_on_an_idle_item_costs_one_round_trip(#[case] pooling: Pooling) {
    let fixture = Fixture::new().await;
    let item = fixture.item(50).await;
    let proxy = Proxy::start(&fixture).await;
    let inventory = proxy.inventory(&fixture, pooling).await;
    let count = || proxy.round_trips.swap(0, Ordering::SeqCst);

    // The first of each kind is prepared, once a connection.
    let hold = reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    inventory.confirm(hold.id, Default::default()).await.unwrap();
    let scarce = fixture.item(1).await;
    inventory.reserve(new_reservation(scarce.id, 2, 600.0), None).await.unwrap();
    count();
    let hold = reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    assert_eq!(count(), 1, "reserve");
    inventory.confirm(hold.id, Default::default()).await.unwrap();
    assert_eq!(count(), 1, "confirm");
    inventory.reserve(new_reservation(item.id, 999, 600.0), None).await.unwrap();
    assert_eq!(count(), 2, "the lean statement, then the general one, which refuses");
    inventory.reserve(new_reservation(item.id, 999, 600.0), None).await.unwrap();
    assert_eq!(count(), 1, "a refusal after a refusal");
    reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
    assert_eq!(count(), 1, "reserve after a refusal of more than there was");
}

#[tokio::test]
async fn a_schema_that_is_missing_is_an_error_and_not_a_refusal() {
    let inventory = Inventory::connect(&Config::new(admin_url())).await.unwrap();
    let call = new_reservation(uuid::Uuid::now_v7(), 1, 600.0);
    match inventory.reserve(call, None).await {
        Err(Error::Internal { statement: "reserve", cause }) => assert!(cause.contains("42P01"), "{cause}"),
        // The server may have been used for the service itself.
        Ok(Reserve::ItemNotFound) => {}
        other => panic!("{other:?}"),
    }
}
