//! Rows of another schema than ours, read through the dialect's `[database]`.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stockhold_harness::internal::{
    database::{Books, Log},
    target::Mapping,
};

/// An item of 3 under a quoted name and a number as its id; one unit is held, one is sold, one hold has lapsed.
const ROWS: &str = r#"
create schema shop;
create table shop."Products" (product bigint primary key, stock int not null, free int not null);
create table shop.holds (
    hold text primary key, product bigint not null, units int not null, state text not null, until timestamptz
);
insert into shop."Products" values (7, 3, 1);
insert into shop.holds values
    ('a', 7, 1, 'active', now() + interval '1 hour'),
    ('b', 7, 1, 'paid', null),
    ('c', 7, 1, 'active', now() - interval '1 hour');
"#;

fn mapping() -> Mapping {
    Mapping {
        items: r#"shop."Products""#.to_owned(),
        item_id: "product".to_owned(),
        total: "stock".to_owned(),
        available: "free".to_owned(),
        reservations: "shop.holds".to_owned(),
        reservation_id: "hold".to_owned(),
        reservation_item: "product".to_owned(),
        quantity: "units".to_owned(),
        status: "state".to_owned(),
        expires_at: "until".to_owned(),
        pending_statuses: vec!["active".to_owned()],
        confirmed_statuses: vec!["paid".to_owned()],
        ..Mapping::default()
    }
}

struct Shop {
    admin: PgConnection,
    rows: PgConnection,
    name: String,
    url: String,
}

impl Shop {
    async fn open() -> Self {
        let admin_url = std::env::var("DATABASE_URL").unwrap_or_default();
        assert!(
            !admin_url.is_empty(),
            "this test needs DATABASE_URL: an admin URL of a PostgreSQL to make databases in"
        );
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        let name = format!("harness_test_{}", uuid::Uuid::now_v7().simple());
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
        let mut url = url::Url::parse(&admin_url).unwrap();
        url.set_path(&name);
        let rows = PgConnection::connect(url.as_str()).await.unwrap();
        let mut shop = Shop { admin, rows, name, url: url.to_string() };
        shop.run(ROWS).await;
        shop
    }

    async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.rows).await.unwrap();
    }

    async fn close(mut self) {
        let sql = format!("drop database {} with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.admin).await.unwrap();
    }
}

#[rstest]
#[case::good("select 1", None)]
#[case::freed_at_a_sweep(r#"update shop."Products" set free = 0"#, None)]
#[case::oversold("insert into shop.holds values ('d', 7, 2, 'paid', null)", Some("confirmed 3 + active 1 > total 3"))]
#[case::wrong_counter(r#"update shop."Products" set free = 3"#, Some("the counters say available 3"))]
#[tokio::test]
async fn rows_of_another_schema_are_audited(#[case] change: &str, #[case] expected: Option<&str>) {
    let mut shop = Shop::open().await;
    shop.run(change).await;
    let mut books = Books::open_as(&shop.url, Some(&mapping())).await.unwrap();
    let what = books.sample("7").await.unwrap().audit();
    assert!(what.as_deref().unwrap_or_default().contains(expected.unwrap_or_default()), "{what:?}");
    assert_eq!(what.is_some(), expected.is_some(), "{what:?}");
    shop.close().await;
}

#[tokio::test]
async fn a_mapping_that_does_not_fit_names_the_column() {
    let shop = Shop::open().await;
    let wrong = Mapping { quantity: "pieces".to_owned(), ..mapping() };
    let why = Books::open_as(&shop.url, Some(&wrong)).await.err().unwrap();
    assert!(why.contains("[database]") && why.contains("pieces"), "{why}");
    shop.close().await;
}

#[tokio::test]
async fn a_spike_of_one_commit_is_seen_in_the_log_of_another_schema() {
    let mut shop = Shop::open().await;
    let level: String = sqlx::query_scalar("show wal_level").fetch_one(&mut shop.rows).await.unwrap();
    if level != "logical" {
        println!("skipped: this server's wal_level is {level}, not logical");
        return shop.close().await;
    }
    let mut log = Log::open(&shop.url, &shop.name, Some(&mapping())).await.unwrap();
    for sql in [
        r#"insert into shop."Products" values (8, 1, 1)"#,
        "insert into shop.holds values ('x', 8, 1, 'active', now() + interval '1 hour')",
        "insert into shop.holds values ('y', 8, 1, 'paid', null)",
        "delete from shop.holds where hold = 'x'",
        r#"update shop."Products" set free = 0 where product = 8"#,
    ] {
        shop.run(sql).await;
    }
    let (states, violations) = log.replay("8").await.unwrap();
    let told: Vec<&str> = violations.iter().map(|violation| violation.what.as_str()).collect();
    assert_eq!((states, told.as_slice()), (4, ["a commit left confirmed 1 + active 1 > total 1"].as_slice()));
    log.leave().await.unwrap();
    shop.close().await;
}
