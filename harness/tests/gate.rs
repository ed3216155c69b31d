//! Gates on a real PostgreSQL: whoever would touch the item stops there, is seen to wait, and goes on in a known order.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stockhold_harness::internal::database::{Arrival, Gatehouse, Kind, Tables};
use tokio::task::JoinHandle;

/// A shop of an item with one unit, in a database of its own.
struct Shop {
    admin: PgConnection,
    name: String,
    url: String,
}

const SCHEMA: &str = "
create table items (id int primary key, stock int not null);
create table holds (id int generated always as identity primary key, item_id int not null references items (id), units int not null);
insert into items values (1, 1), (2, 1);
";

impl Shop {
    async fn open() -> Shop {
        let admin_url = std::env::var("DATABASE_URL").unwrap_or_default();
        assert!(
            !admin_url.is_empty(),
            "this test needs DATABASE_URL: an admin URL of a PostgreSQL to make databases in"
        );
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        let name = format!("harness_gate_{}", uuid::Uuid::now_v7().simple());
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
        let mut url = url::Url::parse(&admin_url).unwrap();
        url.set_path(&name);
        let mut connection = PgConnection::connect(url.as_str()).await.unwrap();
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
        Shop { admin, name, url: url.to_string() }
    }

    async fn gates(&self) -> Gatehouse {
        let tables = Tables { items: "items".to_owned(), reservations: "holds".to_owned(), ..Tables::default() };
        Gatehouse::open(&self.url, tables).await.unwrap()
    }

    /// One call of a service: its statements, on a connection of its own.
    async fn call(&self, sql: &str) -> JoinHandle<()> {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let sql = sql.to_owned();
        tokio::spawn(async move {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        })
    }

    /// What the item's row says, with the digits that `digit` appended in the order of the commits.
    async fn stock(&self) -> i32 {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::query_scalar("select stock from items where id = 1").fetch_one(&mut connection).await.unwrap()
    }

    async fn close(mut self) {
        let drop = format!("drop database {} with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut self.admin).await.unwrap();
    }
}

/// An update that leaves its mark behind those of all updates before it: the row tells in which order they were served.
fn digit(digit: u32) -> String {
    format!("update items set stock = stock * 10 + {digit} where id = 1")
}

#[rstest]
#[case::guarded_update("update items set stock = stock - 1 where id = 1 and stock >= 1")]
#[case::for_update(
    "begin; select stock from items where id = 1 for update; update items set stock = 0 where id = 1; commit"
)]
#[case::read_modify_write("select stock from items where id = 1; update items set stock = 0 where id = 1")]
#[case::sum_then_insert(
    "select sum(units) from holds where item_id = 1; insert into holds (item_id, units) values (1, 1)"
)]
#[case::advisory("begin; select pg_advisory_xact_lock(1); update items set stock = 0 where id = 1; commit")]
#[case::serializable(
    "begin isolation level serializable; select stock from items; update items set stock = 0 where id = 1; commit"
)]
#[tokio::test]
async fn every_strategy_stops_at_the_table_gate(#[case] sql: &str) {
    let shop = Shop::open().await;
    let mut gates = shop.gates().await;
    let mut ladder = gates.close(Kind::Items, "1").await.unwrap();
    let call = shop.call(sql).await;
    assert_eq!(gates.arrival(&mut ladder, &call).await, Ok(Arrival::Waits));
    assert!(!call.is_finished());
    gates.open_all(ladder, |_| call.is_finished()).await.unwrap();
    call.await.unwrap();
    shop.close().await;
}

#[tokio::test]
async fn a_ladder_of_table_gates_lets_the_calls_go_in_the_order_of_their_arrival() {
    let shop = Shop::open().await;
    let mut gates = shop.gates().await;
    let mut calls = Vec::new();
    let mut ladder = gates.close(Kind::Items, "1").await.unwrap();
    for number in 2..8 {
        if number > 2 {
            gates.behind(&mut ladder).await.unwrap();
        }
        // Without the gates between them, the first would be the last: it sleeps before it commits.
        let sleep = 0.08 - 0.01 * f64::from(number);
        let call = shop.call(&format!("begin; {}; select pg_sleep({sleep}); commit", digit(number))).await;
        assert_eq!(gates.arrival(&mut ladder, &call).await, Ok(Arrival::Waits), "call {number}");
        calls.push(call);
    }
    assert!(gates.open_all(ladder, |index| calls[index].is_finished()).await.unwrap().is_empty());
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(shop.stock().await, 1_234_567);
    shop.close().await;
}

#[tokio::test]
async fn a_call_whose_second_statement_comes_behind_a_later_gate_is_named() {
    let shop = Shop::open().await;
    let mut gates = shop.gates().await;
    let mut ladder = gates.close(Kind::Items, "1").await.unwrap();
    let twice = shop.call(&format!("{}; commit; {}", digit(2), digit(3))).await;
    assert_eq!(gates.arrival(&mut ladder, &twice).await, Ok(Arrival::Waits));
    gates.behind(&mut ladder).await.unwrap();
    let once = shop.call(&digit(4)).await;
    assert_eq!(gates.arrival(&mut ladder, &once).await, Ok(Arrival::Waits));
    let calls = [twice, once];
    let again = gates.open_all(ladder, |index| calls[index].is_finished()).await.unwrap();
    assert_eq!(again.into_iter().collect::<Vec<_>>(), [0]);
    for call in calls {
        call.await.unwrap();
    }
    shop.close().await;
}

#[rstest]
#[case::locked(Kind::Row)]
#[case::updated(Kind::Updated)]
#[tokio::test]
async fn a_row_gate_holds_its_item_alone_and_serves_two_in_order(#[case] kind: Kind) {
    let shop = Shop::open().await;
    let mut gates = shop.gates().await;
    let mut ladder = gates.close(kind, "1").await.unwrap();
    let first = shop.call(&digit(2)).await;
    assert_eq!(gates.arrival(&mut ladder, &first).await, Ok(Arrival::Waits));
    let second = shop.call(&digit(3)).await;
    assert_eq!(gates.arrival(&mut ladder, &second).await, Ok(Arrival::Waits));
    let other = shop.call("update items set stock = stock - 1 where id = 2").await;
    assert_eq!(gates.arrival(&mut ladder, &other).await, Ok(Arrival::Passed));
    let reader = shop.call("select stock from items where id = 1").await;
    assert_eq!(gates.arrival(&mut ladder, &reader).await, Ok(Arrival::Passed));
    gates.open_all(ladder, |_| true).await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(shop.stock().await, 123);
    shop.close().await;
}

#[rstest]
// A row that was only locked is not looked at again, one that was updated is.
#[case::locked(Kind::Row, 0)]
#[case::updated(Kind::Updated, 1)]
#[tokio::test]
async fn only_an_updated_row_is_rechecked_by_whoever_waited(#[case] kind: Kind, #[case] stock: i32) {
    let shop = Shop::open().await;
    let mut gates = shop.gates().await;
    let mut ladder = gates.close(kind, "1").await.unwrap();
    let sql = "create table began as select clock_timestamp() as at; \
               update items set stock = 0 where id = 1 and clock_timestamp() < (select at from began) + interval '80 ms'";
    let call = shop.call(sql).await;
    assert_eq!(gates.arrival(&mut ladder, &call).await, Ok(Arrival::Waits));
    tokio::time::sleep(Duration::from_millis(120)).await;
    gates.open_all(ladder, |_| call.is_finished()).await.unwrap();
    call.await.unwrap();
    assert_eq!(shop.stock().await, stock);
    shop.close().await;
}

#[tokio::test]
async fn a_gate_that_was_lost_says_so() {
    let mut shop = Shop::open().await;
    let mut gates = shop.gates().await;
    let ladder = gates.close(Kind::Items, "1").await.unwrap();
    let killed =
        "select pg_terminate_backend(pid) from pg_locks where relation is not null and mode = 'ExclusiveLock' \
                  and database = (select oid from pg_database where datname = 'NAME')"
            .replace("NAME", &shop.name);
    sqlx::raw_sql(AssertSqlSafe(killed)).execute(&mut shop.admin).await.unwrap();
    assert!(gates.open_all(ladder, |_| true).await.is_err_and(|error| error.contains("a gate was lost")));
    shop.close().await;
}

#[tokio::test]
async fn a_table_that_is_not_there_is_told_by_its_name() {
    let shop = Shop::open().await;
    let told = Gatehouse::open(&shop.url, Tables::default()).await.err().unwrap_or_default();
    assert!(told.contains("stockhold.items") && told.contains("--items-table"), "{told}");
    let told = Gatehouse::open("postgres://127.0.0.1:6543/x", Tables::default()).await.err().unwrap_or_default();
    assert!(told.contains("pooler"), "{told}");
    shop.close().await;
}
