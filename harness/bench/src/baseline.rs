//! The baselines: what the database alone does, without HTTP and without the service. One client, one connection,
//! prepared statements, as pgbench does it.

use std::{str::FromStr, sync::Arc};

use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::{
    load::Caller,
    stock::{Change, Stock},
};
use stockhold_harness::internal::history::Seed;

/// What a client does, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Adds one to one row: no reservation of one item can be made faster, one by one.
    BareUpdate,
    /// Asks for nothing: the round trip.
    SelectOne,
    /// What most services do: begin, select for update, update, insert, commit.
    Transaction,
    /// The least that a reservation writes, in one statement.
    OneStatement,
}

/// One client.
pub struct DatabaseCaller {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    statement: Statement,
    stock: Arc<Stock>,
    seed: Seed,
}

impl DatabaseCaller {
    /// A client that is not connected yet.
    pub fn new(database_url: &str, statement: Statement, stock: Arc<Stock>, seed: Seed) -> Result<Self, String> {
        let options = PgConnectOptions::from_str(database_url).map_err(|error| error.to_string())?;
        Ok(DatabaseCaller { options, connection: None, statement, stock, seed })
    }

    async fn run(&mut self) -> Result<(), sqlx::Error> {
        let Some(connection) = &mut self.connection else { return Err(sqlx::Error::WorkerCrashed) };
        let index = self.seed.below(self.stock.item_ids.len() as u64) as usize;
        let item_id = self.stock.item_ids.get(index).copied().unwrap_or_default();
        let written = match self.statement {
            Statement::BareUpdate => {
                let update = "update stockhold_bench.counters set held = held + 1 where id = $1";
                sqlx::query(update).bind(1).execute(connection).await?.rows_affected()
            }
            Statement::SelectOne => {
                sqlx::query("select 1").execute(connection).await?;
                return Ok(());
            }
            Statement::Transaction => transaction(connection, item_id).await?,
            Statement::OneStatement => {
                let reserve = include_str!("sql/reserve_in_one_statement.sql");
                let reservation_id = in_bucket_of(item_id, Uuid::now_v7());
                sqlx::query(reserve).bind(item_id).bind(reservation_id).execute(connection).await?.rows_affected()
            }
        };
        if written != 1 {
            return Err(sqlx::Error::RowNotFound);
        }
        self.stock.count(Change::Reserved);
        Ok(())
    }
}

/// A reservation's id ends as its item's id does.
fn in_bucket_of(item_id: Uuid, id: Uuid) -> Uuid {
    let mut bytes = id.into_bytes();
    bytes[14..].copy_from_slice(&item_id.as_bytes()[14..]);
    Uuid::from_bytes(bytes)
}

/// Five round trips, the item locked from the second to the last.
async fn transaction(connection: &mut PgConnection, item_id: Uuid) -> Result<u64, sqlx::Error> {
    connection.execute("begin").await?;
    let select = "select total - held - confirmed from stockhold_bench.items where id = $1 for update";
    let free: i64 = sqlx::query_scalar(select).bind(item_id).fetch_one(&mut *connection).await?;
    if free < 1 {
        connection.execute("rollback").await?;
        return Ok(0);
    }
    let update = "update stockhold_bench.items set held = held + 1 where id = $1";
    let written = sqlx::query(update).bind(item_id).execute(&mut *connection).await?.rows_affected();
    let insert = "insert into stockhold_bench.reservations (item_id, customer_id, quantity, expires_at) \
                  values ($1, 'bench', 1, clock_timestamp() + interval '1 day')";
    sqlx::query(insert).bind(item_id).execute(&mut *connection).await?;
    connection.execute("commit").await?;
    Ok(written)
}

impl Caller for DatabaseCaller {
    async fn connect(&mut self) -> Result<(), String> {
        let connect = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            // As the service does: the plans do not depend on the values.
            connection.execute("set plan_cache_mode = force_generic_plan").await?;
            Ok(connection)
        };
        self.connection = Some(connect.await.map_err(|error: sqlx::Error| format!("no connection: {error}"))?);
        Ok(())
    }

    async fn call(&mut self) -> Result<(), String> {
        self.run().await.map_err(|error| format!("{:?}: {error}", self.statement))
    }
}

/// Makes the tables of the baselines anew, with an item for each of the stock.
pub async fn prepare(database_url: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    sqlx::raw_sql(include_str!("sql/baseline_schema.sql")).execute(&mut connection).await?;
    connection.close().await
}

/// Gives the items of the stock a row in the table of the interactive transaction.
pub async fn mirror(database_url: &str, stock: &Stock) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    sqlx::query("insert into stockhold_bench.items (id, total) select unnest($1::uuid[]), $2")
        .bind(&stock.item_ids)
        .bind(stock.total_quantity)
        .execute(&mut connection)
        .await?;
    connection.close().await
}

/// Compares what a baseline wrote with what it was told: `held` counts from `before`.
pub async fn settle(database_url: &str, stock: &Stock, statement: Statement) -> Result<(), String> {
    let read = async {
        let mut connection = PgConnection::connect(database_url).await?;
        let sum = match statement {
            Statement::BareUpdate => "select held from stockhold_bench.counters where $1::uuid[] is not null",
            _ => {
                "select sum(least(held, (select count(*) from stockhold_bench.reservations where item_id = items.id)))::bigint \
                 from stockhold_bench.items where id = any ($1)"
            }
        };
        let held: i64 = sqlx::query_scalar(sum).bind(&stock.item_ids).fetch_one(&mut connection).await?;
        connection.execute("update stockhold_bench.counters set held = 0").await?;
        connection.close().await?;
        Ok(held)
    };
    let held = read.await.map_err(|error: sqlx::Error| format!("the baseline's rows cannot be read: {error}"))?;
    let (told, _) = stock.expected();
    if held == told { Ok(()) } else { Err(format!("{held} units are held; the answers said {told}")) }
}
