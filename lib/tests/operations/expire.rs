//! The sweep: bounded, never waiting, never twice.

use stockhold::reservation::Status;
use stockhold::{Expire, ExpireOptions};
use uuid::Uuid;

use crate::common::{Fixture, Gate, at_once, send};

fn limit(limit: i64) -> ExpireOptions {
    ExpireOptions::limited(limit.try_into().unwrap())
}

async fn lapsed_holds(fixture: &Fixture, item_id: Uuid, count: usize) {
    let mut gate = Gate::close_item(fixture, item_id).await;
    for _ in 0..count {
        gate.make_hold(item_id, 1, 0.01).await;
    }
    gate.sleep(0.02).await;
    gate.open().await;
}

#[tokio::test]
async fn expire_records_lapsed_holds_and_leaves_live_ones() {
    let fixture = Fixture::new().await;
    let (first, second) = (fixture.item(10).await, fixture.item(10).await);
    let lapsed = fixture.hold(first.id, 3, 0.01).await;
    let live = fixture.hold(first.id, 4, 600.0).await;
    let other = fixture.hold(second.id, 5, 0.01).await;
    fixture.wait_until_lapsed(&other).await;
    let swept = fixture.inventory.expire(Default::default()).await.unwrap();
    assert_eq!(swept, Expire { expired_count: 2, released_quantity: 8, has_more: false });
    let again = fixture.inventory.expire(Default::default()).await.unwrap();
    assert_eq!(again, Expire::default());
    assert_eq!(fixture.counters(first.id).await, (4, 0, 4));
    assert_eq!(fixture.counters(second.id).await, (0, 0, 3));
    let read = fixture.inventory.get_reservation(lapsed.id).await.unwrap().unwrap();
    assert_eq!((read.status, read.expired_at), (Status::Expired, Some(lapsed.expires_at)));
    assert_eq!(fixture.inventory.get_reservation(live.id).await.unwrap().unwrap().status, Status::Pending);
    fixture.check_books(first.id).await;
    fixture.check_books(second.id).await;
}

#[tokio::test]
async fn expire_stops_at_its_limit_and_says_so() {
    let fixture = Fixture::new().await;
    let item = fixture.item(700).await;
    lapsed_holds(&fixture, item.id, 600).await;
    let swept = fixture.inventory.expire(limit(599)).await.unwrap();
    assert_eq!(swept, Expire { expired_count: 599, released_quantity: 599, has_more: true });
    let swept = fixture.inventory.expire(limit(1)).await.unwrap();
    assert_eq!(swept, Expire { expired_count: 1, released_quantity: 1, has_more: false });
    assert_eq!(fixture.counters(item.id).await, (0, 0, 1201));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn expire_takes_the_oldest_first() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let second = fixture.hold(item.id, 1, 0.03).await;
    let first = fixture.hold(item.id, 1, 0.01).await;
    fixture.wait_until_lapsed(&second).await;
    fixture.wait_until_lapsed(&first).await;
    fixture.inventory.expire(limit(1)).await.unwrap();
    assert_eq!(fixture.kinds(item.id).await.len(), 4);
    let mut connection = fixture.connection().await;
    let expired: Vec<Uuid> = sqlx::query_scalar("select id from stockhold.reservations where status = 'EXPIRED'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let oldest = if first.expires_at < second.expires_at { first } else { second };
    assert_eq!(expired, [oldest.id]);
}

/// More lapsed holds of a busy item than one batch has places must not keep the others waiting.
#[tokio::test]
async fn expire_passes_by_an_item_that_is_busy() {
    let fixture = Fixture::new().await;
    let (busy, idle) = (fixture.item(1000).await, fixture.item(10).await);
    lapsed_holds(&fixture, busy.id, 300).await;
    lapsed_holds(&fixture, idle.id, 2).await;
    let mut gate = Gate::close_item(&fixture, busy.id).await;
    let swept = at_once(fixture.inventory.expire(Default::default())).await.unwrap();
    assert_eq!(swept, Expire { expired_count: 2, released_quantity: 2, has_more: true });
    gate.wait_for(0).await;
    gate.open().await;
    let swept = fixture.inventory.expire(Default::default()).await.unwrap();
    assert_eq!(swept, Expire { expired_count: 300, released_quantity: 300, has_more: false });
    fixture.check_books(busy.id).await;
    fixture.check_books(idle.id).await;
}

#[tokio::test]
async fn sweeps_at_once_record_each_hold_once() {
    let fixture = Fixture::new().await;
    let items = [fixture.item(300).await, fixture.item(300).await, fixture.item(300).await];
    for item in &items {
        lapsed_holds(&fixture, item.id, 200).await;
        fixture.hold(item.id, 50, 600.0).await;
    }
    let sweeps: Vec<_> = (0..8)
        .map(|_| {
            let inventory = fixture.inventory.clone();
            send(async move { inventory.expire(Default::default()).await.unwrap() })
        })
        .collect();
    let mut expired_count = 0;
    for sweep in sweeps {
        expired_count += sweep.await.unwrap().expired_count;
    }
    expired_count += fixture.inventory.expire(Default::default()).await.unwrap().expired_count;
    assert_eq!(expired_count, 600);
    for item in &items {
        assert_eq!(fixture.counters(item.id).await, (50, 0, 402));
        fixture.check_books(item.id).await;
    }
}

/// The sweep has its snapshot and waits for nobody but the hold's own row; meanwhile the deadline is moved.
#[tokio::test]
async fn expire_rechecks_the_deadline_on_the_newest_version() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 0.01).await;
    fixture.wait_until_lapsed(&hold).await;
    let sql = format!(
        "update stockhold.reservations set expires_at = clock_timestamp() + interval '1 hour' where id = '{}'",
        hold.id
    );
    let mut gate = Gate::close(&fixture, &sql).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.expire(Default::default()).await.unwrap() });
    gate.wait_for(1).await;
    gate.open().await;
    assert_eq!(call.await.unwrap().expired_count, 0);
    assert_eq!(fixture.counters(item.id).await, (3, 0, 2));
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn expire_rechecks_the_status_on_the_newest_version() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 0.01).await;
    fixture.hold(item.id, 4, 600.0).await;
    fixture.wait_until_lapsed(&hold).await;
    // Only the hold's row, so that the sweep gets the item and waits here.
    let sql = format!(
        "update stockhold.reservations set status = 'EXPIRED', expired_at = expires_at where id = '{}'",
        hold.id
    );
    let mut gate = Gate::close(&fixture, &sql).await;
    let inventory = fixture.inventory.clone();
    let call = send(async move { inventory.expire(Default::default()).await.unwrap() });
    gate.wait_for(1).await;
    gate.open().await;
    assert_eq!(call.await.unwrap().expired_count, 0);
    assert_eq!(fixture.counters(item.id).await, (7, 0, 3), "the sweep gave nothing back");
}

/// In one batch with holds of an item that is free: the busy one's are neither expired nor given back.
#[tokio::test]
async fn expire_leaves_the_holds_of_a_busy_item_alone() {
    let fixture = Fixture::new().await;
    let (busy, idle) = (fixture.item(10).await, fixture.item(10).await);
    let (waiting, other) = (fixture.hold(busy.id, 3, 0.01).await, fixture.hold(idle.id, 2, 0.01).await);
    fixture.wait_until_lapsed(&waiting).await;
    fixture.wait_until_lapsed(&other).await;
    let gate = Gate::close_item(&fixture, busy.id).await;
    let swept = at_once(fixture.inventory.expire(Default::default())).await.unwrap();
    assert_eq!(swept, Expire { expired_count: 1, released_quantity: 2, has_more: true });
    gate.open().await;
    for item_id in [busy.id, idle.id] {
        fixture.check_books(item_id).await;
    }
}

/// A table's lock stops the statement before its snapshot, and after `now()` was taken.
#[tokio::test]
async fn expire_that_waited_is_recorded_after_what_it_waited_for() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    // Prepared before, so that it is its execution that waits.
    let inventory = fixture.another(1).await;
    inventory.expire(Default::default()).await.unwrap();
    let hold = fixture.hold(item.id, 3, 0.01).await;
    fixture.wait_until_lapsed(&hold).await;
    let mut gate = Gate::close(&fixture, "lock table stockhold.items in exclusive mode").await;
    let call = send(async move { inventory.expire(Default::default()).await.unwrap() });
    gate.wait_for(1).await;
    gate.sleep(0.05).await;
    gate.make_hold(item.id, 1, 600.0).await;
    gate.open().await;
    assert_eq!(call.await.unwrap().expired_count, 1);
    let sql = "select recorded_at from stockhold.ledger where item_id = $1 order by version";
    let recorded: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar(sql).bind(item.id).fetch_all(&mut fixture.connection().await).await.unwrap();
    assert!(recorded.is_sorted(), "{recorded:?}");
}

#[tokio::test]
async fn expire_takes_no_notice_of_a_busy_item_whose_holds_live() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    fixture.hold(item.id, 3, 600.0).await;
    let _gate = Gate::close_item(&fixture, item.id).await;
    assert_eq!(at_once(fixture.inventory.expire(Default::default())).await.unwrap(), Expire::default());
}
