//! The queue before the row: who waits stands there and not at the row, and nothing depends on it.
//! The races run without it too: `lock_order.rs`, `isolation.rs`, `coalesce.rs`.

use rstest::rstest;
use serde_json::json;
use stockhold::{ConfirmOptions, Inventory};
use uuid::Uuid;

use crate::common::{Fixture, Gate, at_once, new_reservation, run, send};

const SETTLE_BATCH: &str = include_str!("../../src/ops/settle_batch.sql");

/// Sessions that wait in an item's queue, and sessions that wait at a row.
async fn waiters(fixture: &Fixture) -> (i64, i64) {
    let sql = "select
            count(*) filter (where locktype = 'advisory'),
            count(*) filter (where locktype in ('tuple', 'transactionid'))
        from pg_locks
        join pg_stat_activity using (pid)
        where not granted
        and application_name = 'stockhold'
        and datname = current_database()";
    sqlx::query_as(sql).fetch_one(&mut fixture.connection().await).await.unwrap()
}

async fn send_one_of_each(inventory: &Inventory, item_id: Uuid, holds: [Uuid; 2]) -> Vec<tokio::task::JoinHandle<()>> {
    let [reserving, confirming, cancelling] = [inventory.clone(), inventory.clone(), inventory.clone()];
    vec![
        send(async move { drop(reserving.reserve(new_reservation(item_id, 1, 600.0), None).await.unwrap()) }),
        send(async move { drop(confirming.confirm(holds[0], ConfirmOptions::default()).await.unwrap()) }),
        send(async move { drop(cancelling.cancel(holds[1]).await.unwrap()) }),
    ]
}

#[rstest]
#[case::the_queue(true, (2, 1))]
#[case::the_row_when_the_queue_is_removed(false, (0, 3))]
#[tokio::test]
async fn calls_that_change_an_item_wait_at(#[case] queued: bool, #[case] expected: (i64, i64)) {
    let fixture = Fixture::new().await;
    if !queued {
        fixture.remove_queue().await;
    }
    let inventory = fixture.alone().await;
    let item = fixture.item(10).await;
    let holds = [fixture.hold(item.id, 2, 600.0).await.id, fixture.hold(item.id, 2, 600.0).await.id];
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let calls = send_one_of_each(&inventory, item.id, holds).await;
    gate.wait_for(3).await;
    assert_eq!(waiters(&fixture).await, expected);
    gate.open().await;
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(fixture.counters(item.id).await, (1, 2, 6));
    fixture.check_books(item.id).await;
}

/// A sold-out refusal, an ended reservation, a sweep and a read never stand in it.
#[tokio::test]
async fn calls_that_change_nothing_and_sweeps_do_not_wait_in_the_queue() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let ended = fixture.hold(item.id, 2, 600.0).await;
    fixture.inventory.cancel(ended.id).await.unwrap();
    let lapsed = fixture.hold(item.id, 1, 0.01).await;
    fixture.wait_until_lapsed(&lapsed).await;
    let sql = format!("select pg_advisory_xact_lock(hashtextextended('{}', 0))", item.id);
    let mut gate = Gate::close(&fixture, &sql).await;
    let swept = at_once(fixture.inventory.expire(Default::default())).await.unwrap();
    assert_eq!(swept.expired_count, 1);
    at_once(fixture.inventory.reserve(new_reservation(item.id, 6, 600.0), None)).await.unwrap();
    at_once(fixture.inventory.confirm(ended.id, ConfirmOptions::default())).await.unwrap();
    at_once(fixture.inventory.get_item(item.id)).await.unwrap();
    gate.wait_for(0).await;
    gate.open().await;
}

/// The places of a batch are taken in one order, so two batches over the same items cannot wait for each other in a ring.
#[tokio::test]
async fn batches_over_several_items_queue_in_one_order() {
    let fixture = Fixture::new().await;
    let mut holds = Vec::new();
    for _ in 0..6 {
        let item = fixture.item(5).await;
        holds.push(fixture.hold(item.id, 1, 600.0).await);
    }
    let mut connection = fixture.connection().await;
    // Locks that are held are listed in no order, so each one that is asked for is noted.
    let note = "create schema noting;
        create table noting.places (number serial, place bigint);
        create function noting.pg_advisory_xact_lock(asked bigint) returns void language sql
            as 'insert into noting.places (place) values (asked)';
        set search_path = noting, pg_catalog";
    run(&mut connection, note).await;
    let mut orders = Vec::new();
    for order in [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4]] {
        let calls = order.map(|index| json!({ "reservation_id": holds[index].id, "verb": "cancel" }));
        run(&mut connection, "begin").await;
        sqlx::query(SETTLE_BATCH).bind(json!(calls)).bind(0).fetch_all(&mut connection).await.unwrap();
        let sql = "select place from noting.places order by number";
        let places: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
        run(&mut connection, "rollback").await;
        assert_eq!(places.len(), holds.len());
        assert!(places.is_sorted(), "{places:?}");
        orders.push(places);
    }
    assert_eq!(orders[0], orders[1]);
}
