//! One lock order everywhere: a storm of every operation on a few items ends without a deadlock, its books in order.

use std::time::{Duration, Instant};

use rstest::rstest;
use stockhold::{Confirm, ConfirmOptions, ExpireOptions, Reserve};

use crate::common::{Fixture, Gate, new_reservation, send};

/// FACTS rows 11 and 15, and the fuzz that the statements passed before they were settled.
#[rstest]
#[case::with_the_queue_before_the_row(true)]
#[case::with_the_queue_removed(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_every_operation_neither_oversells_nor_deadlocks(#[case] queued: bool) {
    let fixture = Fixture::new().await;
    if !queued {
        fixture.remove_queue().await;
    }
    let items = [fixture.item(5).await.id, fixture.item(20).await.id, fixture.item(1).await.id];
    // Two processes' pools, so that nothing in memory can help: one sends its calls together, one each by itself.
    let inventories = [fixture.another(6).await, fixture.alone().await];
    let deadline = Instant::now() + Duration::from_secs(4);
    let clients: Vec<_> = (0..24_u64)
        .map(|seed| {
            let inventory = inventories[seed as usize % 2].clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut reservation_ids = Vec::new();
                let mut reserved_count = 0;
                while Instant::now() < deadline {
                    let ttl_seconds = *random.choice(&[0.01, 0.05, 5.0]).unwrap();
                    let item_id = *random.choice(&items).unwrap();
                    let call = new_reservation(item_id, random.i64(1..4), ttl_seconds);
                    if let Reserve::Reserved(reservation) = inventory.reserve(call, None).await.unwrap() {
                        reservation_ids.push(reservation.id);
                        reserved_count += 1;
                    }
                    let Some(id) = random.choice(&reservation_ids).copied() else { continue };
                    match random.u8(0..8) {
                        0 => drop(inventory.confirm(id, ConfirmOptions::default()).await.unwrap()),
                        1 => {
                            // Given back at once, or the items are soon sold out for good.
                            let options = ConfirmOptions::reacquire();
                            let confirmed = inventory.confirm(id, options).await.unwrap();
                            assert!(!matches!(confirmed, Confirm::ReservationNotFound));
                        }
                        2..=5 => drop(inventory.cancel(id).await.unwrap()),
                        6 => {
                            let options = ExpireOptions::limited(random.i64(1..50).try_into().unwrap());
                            inventory.expire(options).await.unwrap();
                        }
                        _ => drop(inventory.get_item(item_id).await.unwrap()),
                    }
                }
                reserved_count
            })
        })
        .collect();
    let mut reserved_count = 0;
    for client in clients {
        reserved_count += client.await.unwrap();
    }
    assert!(reserved_count > 20, "only {reserved_count} were reserved");
    for item_id in items {
        fixture.check_books(item_id).await;
    }
    drop(inventories);
    assert_eq!(statistic(&fixture, "deadlocks").await, 0);
}

/// A count that the server keeps for the database; sessions report when they end.
pub async fn statistic(fixture: &Fixture, column: &str) -> i64 {
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sql = format!("select {column} from pg_stat_database where datname = current_database()");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut fixture.connection().await).await.unwrap()
}

/// A late cancel locks the item before the hold, as the sweep does; the other order is a deadlock.
#[tokio::test]
async fn a_late_cancel_waits_at_the_item_and_has_not_locked_the_hold() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 0.01).await;
    fixture.wait_until_lapsed(&hold).await;
    let alone = fixture.alone().await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let mut calls = Vec::new();
    for verb in ["cancel", "confirm"] {
        let inventory = alone.clone();
        calls.push(send(async move {
            match verb {
                "cancel" => drop(inventory.cancel(hold.id).await.unwrap()),
                _ => drop(inventory.confirm(hold.id, ConfirmOptions::default()).await.unwrap()),
            }
        }));
    }
    gate.wait_for(2).await;
    // Would fail at once if either call held it.
    gate.run(&format!("select from stockhold.reservations where id = '{}' for update nowait", hold.id)).await;
    gate.open().await;
    for call in calls {
        call.await.unwrap();
    }
    fixture.check_books(item.id).await;
}
