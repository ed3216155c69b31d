//! A fresh database for each test, and gates that make an interleaving one order of steps.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row, SqlSafeStr};
use stockhold::{
    Config, CreateItem, Inventory, NewItem, NewReservation, Pooling, Reserve, item::Item, reservation::Reservation,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A database of the test's own, dropped with this value, and an inventory in it.
pub struct Fixture {
    pub inventory: Inventory,
    pub url: String,
    admin_url: String,
    name: String,
}

pub fn admin_url() -> String {
    std::env::var("DATABASE_URL").expect(
        "DATABASE_URL must name a PostgreSQL server where the tests may create databases; `npm test` starts one",
    )
}

/// The same server, another database.
pub fn with_database(url: &str, name: &str) -> String {
    PgConnectOptions::from_str(url).unwrap().database(name).to_url_lossy().to_string()
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with_settings("").await
    }

    /// `settings`: SQL run on the new database before anything connects to it, `%` standing for its name.
    pub async fn with_settings(settings: &str) -> Self {
        let admin_url = admin_url();
        let name = format!("stockhold_test_{}", Uuid::now_v7().simple());
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        run(&mut admin, &format!("create database {name}")).await;
        if !settings.is_empty() {
            run(&mut admin, &settings.replace('%', &name)).await;
        }
        let url = with_database(&admin_url, &name);
        let inventory = Inventory::connect(&Config::new(&url)).await.unwrap();
        inventory.migrate().await.unwrap();
        Self { inventory, url, admin_url, name }
    }

    /// Another process's inventory in the same database.
    pub async fn another(&self, connections_max: usize) -> Inventory {
        let config = {
            let mut config = Config::new(&self.url);
            config.connections_max = connections_max;
            config
        };
        Inventory::connect(&config).await.unwrap()
    }

    /// An inventory whose calls each have a statement of their own, so that any number of them can be seen to wait.
    pub async fn alone(&self) -> Inventory {
        let config = {
            let mut config = Config::new(&self.url);
            config.coalescing = false;
            config
        };
        Inventory::connect(&config).await.unwrap()
    }

    /// Takes the queue before the row out of every statement of inventories made from now on: a function of the same name
    /// that does nothing comes first on the search path.
    pub async fn remove_queue(&self) {
        let sql = "create schema without_queue;
            create function without_queue.pg_advisory_xact_lock(bigint) returns void language sql as 'select';
            do $$ begin
                execute format('alter database %I set search_path = without_queue, pg_catalog', current_database());
            end $$";
        run(&mut self.connection().await, sql).await;
    }

    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    pub async fn item(&self, total_quantity: i64) -> Item {
        let new_item = new_item(total_quantity);
        match self.inventory.create_item(new_item, None).await.unwrap() {
            CreateItem::Created(item) => item,
            other => panic!("not created: {other:?}"),
        }
    }

    pub async fn hold(&self, item_id: Uuid, quantity: i64, ttl_seconds: f64) -> Reservation {
        match self.inventory.reserve(new_reservation(item_id, quantity, ttl_seconds), None).await.unwrap() {
            Reserve::Reserved(reservation) => reservation,
            other => panic!("not reserved: {other:?}"),
        }
    }

    /// Waits until a hold has lapsed by the database's clock.
    pub async fn wait_until_lapsed(&self, reservation: &Reservation) {
        let mut connection = self.connection().await;
        let sql = "select pg_sleep(greatest(0, extract(epoch from $1 - clock_timestamp()) + 0.002))";
        sqlx::query(sql).bind(reservation.expires_at).execute(&mut connection).await.unwrap();
    }

    /// The item's books must agree, and every promise must fit, at every version.
    pub async fn check_books(&self, item_id: Uuid) {
        let audit = self.inventory.audit(item_id).await.unwrap().unwrap();
        assert!(audit.consistent, "{:?}", audit.findings);
    }

    /// Held (lapsed or not), confirmed and version, as the row has them.
    pub async fn counters(&self, item_id: Uuid) -> (i64, i64, i64) {
        let mut connection = self.connection().await;
        let sql = "select held_quantity, confirmed_quantity, version from stockhold.items where id = $1";
        let row = sqlx::query(sql).bind(item_id).fetch_one(&mut connection).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    }

    /// What the ledger says happened, in order.
    pub async fn kinds(&self, item_id: Uuid) -> Vec<String> {
        let mut connection = self.connection().await;
        let sql = "select kind from stockhold.ledger where item_id = $1 order by version";
        sqlx::query_scalar(sql).bind(item_id).fetch_all(&mut connection).await.unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let admin_url = self.admin_url.clone();
        let sql = format!("drop database if exists {} with (force)", self.name);
        // A test's runtime cannot wait in a destructor; a thread with a runtime of its own can.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&admin_url).await.unwrap();
                run(&mut admin, &sql).await;
            });
        });
        let _ = dropped.join();
    }
}

pub async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql).into_sql_str())).await.unwrap();
}

pub fn new_item(total_quantity: i64) -> NewItem {
    NewItem::new("Ticket".try_into().unwrap(), total_quantity.try_into().unwrap())
}

pub fn new_reservation(item_id: Uuid, quantity: i64, ttl_seconds: f64) -> NewReservation {
    NewReservation::new(item_id, "customer".try_into().unwrap(), quantity.try_into().unwrap())
        .for_seconds(ttl_seconds.try_into().unwrap())
}

pub fn reserved(outcome: Reserve) -> Reservation {
    match outcome {
        Reserve::Reserved(reservation) => reservation,
        other => panic!("not reserved: {other:?}"),
    }
}

/// A transaction of the test's own that holds a lock until it is opened.
pub struct Gate {
    connection: PgConnection,
    pid: i32,
    observer: PgConnection,
}

impl Gate {
    /// Holds what `sql` locks.
    pub async fn close(fixture: &Fixture, sql: &str) -> Self {
        Self::close_at(&fixture.url, sql).await
    }

    /// The same, without the fixture at hand.
    pub async fn close_at(url: &str, sql: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let observer = PgConnection::connect(url).await.unwrap();
        run(&mut connection, "begin isolation level read committed").await;
        run(&mut connection, sql).await;
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        Self { connection, pid, observer }
    }

    /// Holds an item's row: a statement parked there has its snapshot already.
    pub async fn close_item(fixture: &Fixture, item_id: Uuid) -> Self {
        Self::close(fixture, &format!("select from stockhold.items where id = '{item_id}' for update")).await
    }

    /// Does something behind the gate, in its transaction.
    pub async fn run(&mut self, sql: &str) {
        run(&mut self.connection, sql).await;
    }

    /// Ends a hold behind the gate, with its books, as `confirm`, `cancel` and `expire` do.
    pub async fn end_hold(&mut self, reservation: &Reservation, status: &str) {
        let (id, item_id, quantity) = (reservation.id, reservation.item_id, reservation.quantity);
        let confirmed = if status == "CONFIRMED" { quantity } else { 0 };
        self.run(&format!(
            "update stockhold.reservations set status = '{status}', confirmed_quantity = {confirmed},
                 confirmed_at = case when '{status}' = 'CONFIRMED' then clock_timestamp() end,
                 cancelled_at = case when '{status}' = 'CANCELLED' then clock_timestamp() end,
                 expired_at = case when '{status}' = 'EXPIRED' then expires_at end
             where id = '{id}';
             update stockhold.items set held_quantity = held_quantity - {quantity},
                 confirmed_quantity = confirmed_quantity + {confirmed}, version = version + 1
             where id = '{item_id}';
             insert into stockhold.ledger
             select id, bucket, version, '{id}', '{status}', {quantity}, total_quantity, held_quantity, confirmed_quantity,
                 clock_timestamp()
             from stockhold.items where id = '{item_id}'"
        ))
        .await;
    }

    /// Makes a hold behind the gate, with its books, as `reserve` does.
    pub async fn make_hold(&mut self, item_id: Uuid, quantity: i64, ttl_seconds: f64) -> Uuid {
        let id = id_in_bucket_of(item_id);
        self.run(&format!(
            "insert into stockhold.reservations (id, bucket, item_id, customer_id, quantity, created_at, expires_at)
             values ('{id}', stockhold.bucket('{id}'), '{item_id}', 'other', {quantity}, clock_timestamp(),
                 clock_timestamp() + interval '{ttl_seconds} seconds');
             update stockhold.items set held_quantity = held_quantity + {quantity}, version = version + 1
             where id = '{item_id}';
             insert into stockhold.ledger
             select id, bucket, version, '{id}', 'RESERVED', {quantity}, total_quantity, held_quantity, confirmed_quantity,
                 clock_timestamp()
             from stockhold.items where id = '{item_id}'"
        ))
        .await;
        id
    }

    /// Sleeps behind the gate by the database's clock.
    pub async fn sleep(&mut self, seconds: f64) {
        self.run(&format!("select pg_sleep({seconds})")).await;
    }

    /// How many sessions are seen to wait for the gate, in line or behind one that is.
    pub async fn waiter_count(&mut self) -> i64 {
        let sql = "
            with recursive waiting as materialized (
                select distinct pg_locks.pid, blocker.pid as blocker_pid
                from pg_locks
                cross join lateral unnest(pg_blocking_pids(pg_locks.pid)) as blocker (pid)
                where not pg_locks.granted
                and pg_locks.mode <> 'ShareUpdateExclusiveLock'
            ),
            queued (pid) as (
                select pid
                from waiting
                where blocker_pid = $1
                union
                select waiting.pid
                from waiting
                join queued on queued.pid = waiting.blocker_pid
            )
            select count(*)
            from queued";
        sqlx::query_scalar(sql).bind(self.pid).fetch_one(&mut self.observer).await.unwrap()
    }

    /// Waits until exactly this many sessions are seen to wait for the gate.
    pub async fn wait_for(&mut self, waiter_count: i64) {
        let started = Instant::now();
        loop {
            let count = self.waiter_count().await;
            if count == waiter_count {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(8), "{count} wait at the gate, not {waiter_count}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Commits what was done behind it and lets the waiters go.
    pub async fn open(mut self) {
        run(&mut self.connection, "commit").await;
    }
}

/// Stands between an inventory and the database: counts how often the client speaks after the server did, which are the
/// round trips, holds back what the client says while it is told to, and breaks a connection instead of answering.
pub struct Proxy {
    pub round_trips: Arc<AtomicUsize>,
    losing: Arc<AtomicBool>,
    held: watch::Sender<bool>,
    port: u16,
}

impl Proxy {
    pub async fn start(fixture: &Fixture) -> Self {
        let server = PgConnectOptions::from_str(&fixture.url).unwrap();
        let server = format!("{}:{}", server.get_host(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (held, holding) = watch::channel(false);
        let round_trips = Arc::new(AtomicUsize::new(0));
        let losing = Arc::new(AtomicBool::new(false));
        let (count, lost) = (round_trips.clone(), losing.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(Self::pass(client, server, holding.clone(), count.clone(), lost.clone()));
            }
        });
        Self { round_trips, losing, held, port }
    }

    async fn pass(
        client: TcpStream,
        server: TcpStream,
        mut holding: watch::Receiver<bool>,
        count: Arc<AtomicUsize>,
        losing: Arc<AtomicBool>,
    ) {
        let (mut client_read, mut client_write) = client.into_split();
        let (mut server_read, mut server_write) = server.into_split();
        let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
        let mut server_spoke = true;
        loop {
            tokio::select! {
                read = client_read.read(&mut from_client) => match read {
                    Ok(length) if length > 0 => {
                        count.fetch_add(usize::from(server_spoke), Ordering::SeqCst);
                        server_spoke = false;
                        holding.wait_for(|holding| !holding).await.unwrap();
                        server_write.write_all(&from_client[..length]).await.unwrap();
                    }
                    _ => return,
                },
                read = server_read.read(&mut from_server) => match read {
                    Ok(length) if length > 0 => {
                        if losing.swap(false, Ordering::SeqCst) {
                            return;
                        }
                        server_spoke = true;
                        client_write.write_all(&from_server[..length]).await.unwrap();
                    }
                    _ => return,
                },
            }
        }
    }

    /// Holds back what the client says, or lets it pass again.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Breaks the connection when the server next answers: what was asked is done, and the client does not hear so.
    pub fn lose_next_answer(&self) {
        self.losing.store(true, Ordering::SeqCst);
    }

    /// An inventory with one connection, through here.
    pub async fn inventory(&self, fixture: &Fixture, pooling: Pooling) -> Inventory {
        let options = PgConnectOptions::from_str(&fixture.url).unwrap().host("127.0.0.1").port(self.port);
        let config = {
            let mut config = Config::new(options.to_url_lossy());
            config.connections_max = 1;
            config.pooling = pooling;
            config
        };
        Inventory::connect(&config).await.unwrap()
    }
}

/// Sends a call on its way; the gate says when it waits.
pub fn send<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(call)
}

/// The answer of a call that must not wait for a gate.
pub async fn at_once<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(4), call).await.expect("the call waits, and must not")
}

/// A new id in the bucket of an item, as its reservations have.
pub fn id_in_bucket_of(item_id: Uuid) -> Uuid {
    let mut bytes = Uuid::now_v7().into_bytes();
    bytes[14..].copy_from_slice(&item_id.as_bytes()[14..]);
    Uuid::from_bytes(bytes)
}
