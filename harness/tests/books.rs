//! The books of a real PostgreSQL with the real schema: what the audit reads there, and what it makes of rows that no
//! constraint would let in.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stockhold_harness::internal::database::Books;

const ITEM: &str = "01900000-0000-7000-8000-000000000001";
const MIGRATION: &str = include_str!("../../migrations/0001_stockhold.sql");

/// Five units: one sold, one held, one given back, one lapsed.
const HISTORY: &str = "
insert into stockhold.items (id, bucket, name, metadata, total_quantity, held_quantity, confirmed_quantity, version, created_at, updated_at)
values ('01900000-0000-7000-8000-000000000001', 1, 'chair', '{}', 5, 1, 1, 8, now(), now());

insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, confirmed_quantity, status, created_at, expires_at, confirmed_at, cancelled_at, expired_at)
values
    ('01900000-0000-7000-8000-000000a10001', 1, '01900000-0000-7000-8000-000000000001', 'a', 1, 1, 'CONFIRMED', now() - interval '1 minute', now() + interval '1 hour', now(), null, null),
    ('01900000-0000-7000-8000-000000a20001', 1, '01900000-0000-7000-8000-000000000001', 'b', 1, 0, 'PENDING', now() - interval '1 minute', now() + interval '1 hour', null, null, null),
    ('01900000-0000-7000-8000-000000a30001', 1, '01900000-0000-7000-8000-000000000001', 'c', 1, 0, 'CANCELLED', now() - interval '1 minute', now() + interval '1 hour', null, now(), null),
    ('01900000-0000-7000-8000-000000a40001', 1, '01900000-0000-7000-8000-000000000001', 'd', 1, 0, 'EXPIRED', now() - interval '1 minute', now() - interval '1 second', null, null, now() - interval '1 second');

insert into stockhold.ledger (item_id, bucket, version, reservation_id, kind, quantity, total_quantity, held_quantity, confirmed_quantity, recorded_at)
select '01900000-0000-7000-8000-000000000001', 1, version, reservation_id::uuid, kind, quantity, 5, held, confirmed, now()
from (values
    (1, null, 'CREATED', 5, 0, 0),
    (2, '01900000-0000-7000-8000-000000a10001', 'RESERVED', 1, 1, 0),
    (3, '01900000-0000-7000-8000-000000a20001', 'RESERVED', 1, 2, 0),
    (4, '01900000-0000-7000-8000-000000a10001', 'CONFIRMED', 1, 1, 1),
    (5, '01900000-0000-7000-8000-000000a30001', 'RESERVED', 1, 2, 1),
    (6, '01900000-0000-7000-8000-000000a30001', 'CANCELLED', 1, 1, 1),
    (7, '01900000-0000-7000-8000-000000a40001', 'RESERVED', 1, 2, 1),
    (8, '01900000-0000-7000-8000-000000a40001', 'EXPIRED', 1, 1, 1)
) as entry (version, reservation_id, kind, quantity, held, confirmed);
";

/// A database of its own, dropped by `drop_database`.
async fn fresh() -> (PgConnection, String, String) {
    let admin_url = std::env::var("DATABASE_URL").unwrap_or_default();
    assert!(
        !admin_url.is_empty(),
        "this test needs DATABASE_URL: an admin URL of a PostgreSQL it may create databases in"
    );
    let mut admin = PgConnection::connect(&admin_url).await.unwrap();
    let name = format!("harness_test_{}", uuid::Uuid::now_v7().simple());
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
    let mut url = url::Url::parse(&admin_url).unwrap();
    url.set_path(&name);
    (admin, name, url.to_string())
}

async fn drop_database(mut admin: PgConnection, name: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!("drop database {name} with (force)"))).execute(&mut admin).await.unwrap();
}

async fn told(corruption: &str) -> Vec<String> {
    let (admin, name, url) = fresh().await;
    let mut rows = PgConnection::connect(&url).await.unwrap();
    for sql in [MIGRATION, HISTORY, corruption] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut rows).await.unwrap();
    }
    let mut books = Books::open(&url).await.unwrap();
    assert!(books.has_ledger);
    let page = books.page(ITEM).await.unwrap();
    let sample = books.sample(ITEM).await.unwrap();
    let told = page.audit().into_iter().map(|violation| violation.what).chain(sample.audit()).collect();
    drop_database(admin, &name).await;
    told
}

#[tokio::test]
async fn audit_finds_nothing_in_good_books() {
    assert_eq!(told("").await, Vec::<String>::new());
}

#[rstest]
#[case("update stockhold.items set held_quantity = 2", "the item says")]
#[case("update stockhold.items set version = 9", "the item is at version 9")]
#[case("delete from stockhold.ledger where version = 6", "a version is missing")]
#[case("update stockhold.ledger set held_quantity = 0 where version = 3", "folds to")]
#[case(
    "update stockhold.reservations set status = 'CONFIRMED', confirmed_quantity = 1, confirmed_at = now() where customer_id = 'b'",
    "its rows add up"
)]
#[case(
    "alter table stockhold.ledger drop constraint ledger_never_oversold;
     update stockhold.ledger set quantity = 9, held_quantity = 10 where version = 3",
    "breaks the invariant"
)]
#[case(
    "alter table stockhold.items drop constraint item_never_oversold;
     insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
     values ('01900000-0000-7000-8000-0000000a0001', 1, '01900000-0000-7000-8000-000000000001', 'e', 9, now(), now() + interval '1 hour')",
    "> total 5"
)]
#[case("update stockhold.ledger set recorded_at = now() - interval '1 second' where version = 3", "before version 2")]
#[case("update stockhold.ledger set recorded_at = now() - interval '1 hour' where version = 8", "before its deadline")]
#[case("update stockhold.ledger set recorded_at = now() + interval '2 hours' where version = 4", "after its deadline")]
#[tokio::test]
async fn audit_finds_each_corruption(#[case] corruption: &str, #[case] expected: &str) {
    let told = told(corruption).await;
    assert!(told.iter().any(|what| what.contains(expected)), "{expected:?} is not in {told:#?}");
}
