//! Reading: lapsed holds count nowhere, pages join, an audit finds what is wrong.

use std::time::{Duration, Instant};

use stockhold::LedgerQuery;
use stockhold::reservation::Status;
use uuid::Uuid;

use crate::common::{Fixture, Gate, run, send};

#[tokio::test]
async fn get_item_counts_a_lapsed_hold_as_available() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 2.0).await;
    fixture.hold(item.id, 4, 600.0).await;
    let status = fixture.inventory.get_item(item.id).await.unwrap().unwrap();
    assert_eq!((status.item.held_quantity, status.item.available_quantity), (7, 3));
    fixture.wait_until_lapsed(&hold).await;
    let status = fixture.inventory.get_item(item.id).await.unwrap().unwrap();
    assert_eq!((status.item.held_quantity, status.item.available_quantity), (4, 6));
    assert!(status.as_of >= hold.expires_at);
    assert_eq!(status.item.version, 3, "reading records nothing");
}

#[tokio::test]
async fn get_reservation_reads_a_lapsed_hold_the_same_before_and_after_the_sweep() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 0.01).await;
    fixture.wait_until_lapsed(&hold).await;
    let before = fixture.inventory.get_reservation(hold.id).await.unwrap().unwrap();
    assert_eq!((before.status, before.expired_at), (Status::Expired, Some(hold.expires_at)));
    fixture.inventory.expire(Default::default()).await.unwrap();
    assert_eq!(fixture.inventory.get_reservation(hold.id).await.unwrap(), Some(before));
}

#[tokio::test]
async fn get_reservation_of_what_was_sold_in_time_reads_confirmed_for_good() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 1.0).await;
    fixture.inventory.confirm(hold.id, Default::default()).await.unwrap();
    fixture.wait_until_lapsed(&hold).await;
    let read = fixture.inventory.get_reservation(hold.id).await.unwrap().unwrap();
    assert_eq!((read.status, read.expired_at), (Status::Confirmed, None));
}

/// A table's lock stops a read before its snapshot, and after `now()` was taken: what lapsed meanwhile has lapsed.
#[tokio::test]
async fn reads_that_waited_across_a_deadline_show_it() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let hold = fixture.hold(item.id, 3, 1.0).await;
    // Prepared before, so that it is their execution that waits.
    let (one, other) = (fixture.another(1).await, fixture.another(1).await);
    one.get_item(item.id).await.unwrap();
    other.get_reservation(hold.id).await.unwrap();
    let mut gate = Gate::close(&fixture, "lock table stockhold.reservations in access exclusive mode").await;
    let status = send(async move { one.get_item(item.id).await.unwrap().unwrap().item });
    let reservation = send(async move { other.get_reservation(hold.id).await.unwrap().unwrap() });
    gate.wait_for(2).await;
    fixture.wait_until_lapsed(&hold).await;
    gate.open().await;
    assert_eq!(status.await.unwrap().available_quantity, 10);
    assert_eq!(reservation.await.unwrap().status, Status::Expired);
}

#[tokio::test]
async fn reads_of_the_unknown_find_nothing() {
    let fixture = Fixture::new().await;
    let id = Uuid::now_v7();
    let query = LedgerQuery::after(0, 10);
    assert_eq!(fixture.inventory.get_item(id).await.unwrap(), None);
    assert_eq!(fixture.inventory.get_reservation(id).await.unwrap(), None);
    assert_eq!(fixture.inventory.get_ledger(id, query).await.unwrap(), None);
    assert_eq!(fixture.inventory.audit(id).await.unwrap(), None);
}

#[tokio::test]
async fn get_ledger_pages_join_without_gap_or_overlap() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    for _ in 0..6 {
        fixture.hold(item.id, 1, 600.0).await;
    }
    for entry_count_max in [1, 3, 7, 8] {
        let mut versions = Vec::new();
        let mut after_version = 0;
        loop {
            let query = LedgerQuery::after(after_version, entry_count_max);
            let page = fixture.inventory.get_ledger(item.id, query).await.unwrap().unwrap();
            versions.extend(page.entries.iter().map(|entry| entry.version));
            match page.next_after_version {
                Some(version) => after_version = version,
                None => break,
            }
        }
        assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7], "{entry_count_max} on a page");
    }
    let query = LedgerQuery::after(99, 10);
    let page = fixture.inventory.get_ledger(item.id, query).await.unwrap().unwrap();
    assert_eq!((page.entries.len(), page.next_after_version), (0, None));
}

#[tokio::test]
async fn audit_finds_what_is_wrong() {
    let corruptions = [
        ("update stockhold.items set held_quantity = 6", "held_quantity is 6"),
        ("update stockhold.items set confirmed_quantity = 0", "confirmed_quantity is 0"),
        ("update stockhold.items set version = 9", "version is 9"),
        (
            "update stockhold.reservations set confirmed_quantity = 1 where status = 'CONFIRMED'",
            "CONFIRMED reservations say 1",
        ),
        ("update stockhold.ledger set held_quantity = 0 where version = 2", "ledger version 2"),
        ("update stockhold.ledger set version = 17 where version = 3", "ledger version 4"),
        ("delete from stockhold.ledger where version = 4", "ledger entries say 3"),
    ];
    for (sql, finding) in corruptions {
        let fixture = Fixture::new().await;
        let item = fixture.item(10).await;
        fixture.hold(item.id, 5, 600.0).await;
        let hold = fixture.hold(item.id, 2, 600.0).await;
        fixture.inventory.confirm(hold.id, Default::default()).await.unwrap();
        fixture.check_books(item.id).await;
        run(&mut fixture.connection().await, sql).await;
        let audit = fixture.inventory.audit(item.id).await.unwrap().unwrap();
        assert!(!audit.consistent, "{sql}");
        assert!(audit.findings.iter().any(|found| found.contains(finding)), "{sql}: {:?}", audit.findings);
    }
}

/// FACTS row 16, and the last of section 6: one clock for the holds, another for the item, and a customer sees -1.
#[tokio::test]
async fn availability_is_never_negative_while_holds_lapse_and_units_change_hands() {
    let fixture = Fixture::new().await;
    let item = fixture.item(1).await;
    let deadline = Instant::now() + Duration::from_secs(2);
    let buyers: Vec<_> = (0..4)
        .map(|_| {
            let inventory = fixture.inventory.clone();
            tokio::spawn(async move {
                while Instant::now() < deadline {
                    let call = crate::common::new_reservation(item.id, 1, 0.01);
                    inventory.reserve(call, None).await.unwrap();
                }
            })
        })
        .collect();
    let reader = fixture.another(1).await;
    let mut seen = [false; 2];
    while Instant::now() < deadline {
        let status = reader.get_item(item.id).await.unwrap().unwrap().item;
        assert!((0..=1).contains(&status.available_quantity), "{status:?}");
        assert_eq!(status.available_quantity + status.held_quantity, 1);
        seen[status.available_quantity as usize] = true;
    }
    for buyer in buyers {
        buyer.await.unwrap();
    }
    assert_eq!(seen, [true, true], "the readings met both states");
    fixture.check_books(item.id).await;
}
