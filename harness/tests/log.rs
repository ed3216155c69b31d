//! The log of a real PostgreSQL: what lasted for one commit is seen, whatever the rows say afterwards.
#![cfg(feature = "race")]

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stockhold_harness::internal::database::Log;

const ITEM: &str = "01900000-0000-7000-8000-000000000001";
const MIGRATION: &str = include_str!("../../migrations/0001_stockhold.sql");
/// An item of 1, and a hold of it.
const BEGINNING: &str = "
insert into stockhold.items (id, bucket, name, metadata, total_quantity, held_quantity, version, created_at, updated_at)
values ('01900000-0000-7000-8000-000000000001', 1, 'chair', '{}', 1, 1, 2, now(), now());
insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
values ('01900000-0000-7000-8000-000000a10001', 1, '01900000-0000-7000-8000-000000000001', 'a', 1, now(), now() + interval '1 hour');
";
const SPIKE: &str = "
update stockhold.items set held_quantity = 2;
insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
values ('01900000-0000-7000-8000-000000a20001', 1, '01900000-0000-7000-8000-000000000001', 'b', 1, now(), now() + interval '1 hour');
";
const REPAIR: &str = "
update stockhold.items set held_quantity = 1;
update stockhold.reservations set status = 'CANCELLED', cancelled_at = now() where customer_id = 'b';
";

#[tokio::test]
async fn a_spike_that_is_repaired_by_the_next_commit_is_seen() {
    let admin_url = std::env::var("DATABASE_URL").unwrap_or_default();
    assert!(!admin_url.is_empty(), "this test needs DATABASE_URL: an admin URL of a PostgreSQL to make databases in");
    let mut admin = PgConnection::connect(&admin_url).await.unwrap();
    let level: String = sqlx::query_scalar("show wal_level").fetch_one(&mut admin).await.unwrap();
    if level != "logical" {
        println!("skipped: this server's wal_level is {level}, not logical");
        return;
    }
    let name = format!("harness_witness_{}", uuid::Uuid::now_v7().simple());
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
    let mut url = url::Url::parse(&admin_url).unwrap();
    url.set_path(&name);
    let mut rows = PgConnection::connect(url.as_str()).await.unwrap();
    let lenient = "alter table stockhold.items drop constraint item_never_oversold";
    for sql in [MIGRATION, lenient] {
        sqlx::raw_sql(sql).execute(&mut rows).await.unwrap();
    }

    let mut witness = Log::open(url.as_str(), &name, None).await.unwrap();
    // Each is a message of its own, and so a transaction of its own.
    for sql in [BEGINNING, SPIKE, REPAIR] {
        sqlx::raw_sql(sql).execute(&mut rows).await.unwrap();
    }
    let (states, violations) = witness.replay(ITEM).await.unwrap();
    assert_eq!(states, 3);
    let told: Vec<&str> = violations.iter().map(|violation| violation.what.as_str()).collect();
    assert_eq!(told, ["a commit left confirmed 0 + active 2 > total 1"]);
    assert_eq!(witness.replay(ITEM).await.unwrap().0, 0, "what was read is read once");

    witness.leave().await.unwrap();
    for left in [
        "select count(*) from pg_publication",
        "select count(*) from pg_replication_slots where database = current_database()",
    ] {
        let count: i64 = sqlx::query_scalar(left).fetch_one(&mut rows).await.unwrap();
        assert_eq!(count, 0, "{left}");
    }
    drop(rows);
    sqlx::raw_sql(AssertSqlSafe(format!("drop database {name} with (force)"))).execute(&mut admin).await.unwrap();
}
