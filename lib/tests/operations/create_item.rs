//! Creating an item: its first answer, its repeats.

use stockhold::reservation::IdempotencyKey;
use stockhold::{CreateItem, NewItem};

use crate::common::{Fixture, Gate, at_once, new_item, send};

fn key(text: &str) -> Option<IdempotencyKey> {
    Some(text.try_into().unwrap())
}

#[tokio::test]
async fn create_item_starts_the_ledger_at_version_one() {
    let fixture = Fixture::new().await;
    let metadata = serde_json::json!({ "row": "A", "nested": [1, { "x": null }] });
    let new_item = NewItem::new("Näme ' \\ \" $1".try_into().unwrap(), 1_000_000_000.try_into().unwrap())
        .with_sku("sku".try_into().unwrap())
        .with_metadata(serde_json::from_value(metadata.clone()).unwrap());
    let CreateItem::Created(item) = fixture.inventory.create_item(new_item, None).await.unwrap() else {
        panic!("not created")
    };
    assert_eq!(item.id.get_version_num(), 7);
    assert_eq!((item.version, item.available_quantity), (1, 1_000_000_000));
    let read = fixture.inventory.get_item(item.id).await.unwrap().unwrap().item;
    assert_eq!(read, item);
    assert_eq!(serde_json::to_value(&read.metadata).unwrap(), metadata);
    assert_eq!(fixture.kinds(item.id).await, ["CREATED"]);
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn create_item_under_a_key_makes_one_item_and_tells_it_as_it_is_now() {
    let fixture = Fixture::new().await;
    let inventory = &fixture.inventory;
    let CreateItem::Created(item) = inventory.create_item(new_item(5), key("k")).await.unwrap() else {
        panic!("not created")
    };
    fixture.hold(item.id, 3, 600.0).await;
    let repeat = inventory.create_item(new_item(5), key("k")).await.unwrap();
    let now = inventory.get_item(item.id).await.unwrap().unwrap().item;
    assert_eq!(now.held_quantity, 3);
    assert_eq!(repeat, CreateItem::Replayed(now));
    let other = inventory.create_item(new_item(6), key("k")).await.unwrap();
    assert_eq!(other, CreateItem::IdempotencyKeyReused);
    let CreateItem::Created(another) = inventory.create_item(new_item(5), key("l")).await.unwrap() else {
        panic!("not created")
    };
    assert_ne!(another.id, item.id);
}

#[tokio::test]
async fn create_item_twice_at_once_under_a_key_makes_one() {
    let fixture = Fixture::new().await;
    // Nobody may insert until both calls have seen that the key is free.
    let mut gate = Gate::close(&fixture, "lock table stockhold.items in share mode").await;
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let inventory = fixture.inventory.clone();
            send(async move { inventory.create_item(new_item(5), key("k")).await.unwrap() })
        })
        .collect();
    gate.wait_for(2).await;
    gate.open().await;
    let mut created = Vec::new();
    let mut replayed = Vec::new();
    for call in calls {
        match at_once(call).await.unwrap() {
            CreateItem::Created(item) => created.push(item),
            CreateItem::Replayed(item) => replayed.push(item),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(created.len(), 1);
    assert_eq!(created, replayed);
}
