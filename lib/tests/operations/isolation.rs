//! READ COMMITTED on every connection, whatever the server's default.

use rstest::rstest;
use stockhold::{Cancel, Confirm, Reserve};

use super::lock_order::statistic;
use crate::common::{Fixture, Gate, new_reservation, reserved, send};

/// The races of the other tests in one: under another isolation level the waiting statements would be rolled back with
/// a serialization failure, which the statistic would count.
#[rstest]
#[case::read_committed("read committed", true)]
#[case::repeatable_read("repeatable read", true)]
#[case::serializable("serializable", true)]
#[case::read_committed_with_the_queue_removed("read committed", false)]
#[tokio::test]
async fn races_end_the_same_whatever_the_default_isolation(#[case] isolation: &str, #[case] queued: bool) {
    let settings = format!("alter database % set default_transaction_isolation = '{isolation}'");
    let fixture = Fixture::with_settings(&settings).await;
    if !queued {
        fixture.remove_queue().await;
    }
    let item = fixture.item(50).await;
    let hold = fixture.hold(item.id, 10, 600.0).await;
    fixture.hold(item.id, 10, 600.0).await;
    let inventory = fixture.alone().await;

    // Eight reserves of 4 for 30 units, a confirm and a cancel of one hold, all parked at the row.
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let reserves: Vec<_> = (0..8)
        .map(|_| {
            let inventory = inventory.clone();
            send(async move { inventory.reserve(new_reservation(item.id, 4, 600.0), None).await.unwrap() })
        })
        .collect();
    let confirm = {
        let inventory = inventory.clone();
        send(async move { inventory.confirm(hold.id, Default::default()).await.unwrap() })
    };
    let cancel = {
        let inventory = inventory.clone();
        send(async move { inventory.cancel(hold.id).await.unwrap() })
    };
    gate.wait_for(10).await;
    gate.make_hold(item.id, 1, 600.0).await;
    gate.open().await;

    let mut reserved_count = 0;
    for call in reserves {
        reserved_count += i64::from(matches!(call.await.unwrap(), Reserve::Reserved(_)));
    }
    let (confirm, cancel) = (confirm.await.unwrap(), cancel.await.unwrap());
    let confirmed = match (&confirm, &cancel) {
        (Confirm::Confirmed(_), Cancel::AlreadyConfirmed(_)) => 10,
        (Confirm::AlreadyCancelled(_), Cancel::Cancelled(_)) => 0,
        other => panic!("{other:?}"),
    };
    // 29 units were left, and 10 more where the cancel came before the last of the reserves.
    assert!(reserved_count == 7 || confirmed == 0 && reserved_count == 8, "{reserved_count} reserved");
    let (held, sold, _) = fixture.counters(item.id).await;
    assert_eq!((held, sold), (11 + 4 * reserved_count, confirmed));
    fixture.check_books(item.id).await;
    drop(inventory);
    // One: `migrate` asked for the version of a schema that was not there yet.
    assert_eq!(statistic(&fixture, "xact_rollback").await, 1, "nothing was rolled back and tried again");
}

/// The path of a call that came too late several times runs two statements in a transaction of its own.
#[tokio::test]
async fn a_session_may_be_read_only_by_default() {
    let fixture = Fixture::with_settings("alter database % set default_transaction_isolation = 'serializable'").await;
    let mut connection = fixture.connection().await;
    crate::common::run(
        &mut connection,
        "do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$",
    )
    .await;
    let inventory = fixture.another(1).await;
    let item = match inventory.create_item(crate::common::new_item(5), None).await.unwrap() {
        stockhold::CreateItem::Created(item) => item,
        other => panic!("{other:?}"),
    };
    reserved(inventory.reserve(new_reservation(item.id, 1, 600.0), None).await.unwrap());
}
