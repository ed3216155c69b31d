//! Connections: the pool, the session settings, the bounded retries; [`migrate`] brings the schema up to date.
//! A statement may be sent more than once; every operation carries the ids of what it makes, so the second
//! time is a repeat.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, TimeoutType};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgPool, Postgres, SqlSafeStr};
use uuid::Uuid;

use self::fetch::Fetch;
use crate::error::Error;
use crate::statement::{Statement, Value};

pub(crate) mod fetch;
mod migrate;
pub(crate) mod transaction;

/// Where the database is, and how much of it this process may use.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// `postgres://user:password@host:port/database`.
    pub database_url: String,
    /// Connections this process opens at most; at least 1.
    pub connections_max: usize,
    /// How long one operation waits at most for a connection, and then for a lock.
    pub wait_max: Duration,
    /// What stands between this process and the server.
    pub pooling: Pooling,
    /// Whether calls of this process that wait for one item share a statement.
    pub coalescing: bool,
}

/// What a connection is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// One server session for as long as the connection lasts: the server itself, or a pooler in session mode.
    Session,
    /// A pooler that may change the server session between two transactions (PgBouncer's transaction mode, Supabase's
    /// port 6543). A prepared statement or a setting of one transaction may be missing, or another client's, in the next;
    /// so each operation is one message of the simple protocol that brings its settings and values along.
    Transaction,
}

impl fmt::Debug for Config {
    /// Without the URL, which may hold a password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database_url: _, connections_max, wait_max, pooling, coalescing } = self;
        out.debug_struct("Config")
            .field("connections_max", connections_max)
            .field("wait_max", wait_max)
            .field("pooling", pooling)
            .field("coalescing", coalescing)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The defaults: 10 connections, 10 seconds, transaction pooling on port 6543 and session pooling elsewhere, coalescing.
    pub fn new(database_url: impl Into<String>) -> Self {
        let database_url = database_url.into();
        let port = PgConnectOptions::from_str(database_url.trim()).map(|options| options.get_port());
        let pooling = if matches!(port, Ok(6543)) { Pooling::Transaction } else { Pooling::Session };
        Self { database_url, connections_max: 10, wait_max: Duration::from_secs(10), pooling, coalescing: true }
    }

    /// Reads `DATABASE_URL`, `DATABASE_MAX_CONNECTIONS`, `DATABASE_POOLER` and `COALESCING`.
    ///
    /// # Errors
    /// [`Error::Configuration`] when the first is missing, the second is not a positive number, the third is neither
    /// `session` nor `transaction`, or the fourth is neither `on` nor `off`.
    pub fn from_env() -> Result<Self, Error> {
        let database_url = std::env::var("DATABASE_URL").unwrap_or_default();
        if database_url.is_empty() {
            return Err(Error::Configuration("DATABASE_URL is not set; see .env.example".into()));
        }
        let mut config = Self::new(database_url);
        if let Ok(text) = std::env::var("DATABASE_MAX_CONNECTIONS").map(|text| text.trim().to_owned())
            && !text.is_empty()
        {
            config.connections_max = text.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
                Error::Configuration(format!("DATABASE_MAX_CONNECTIONS is {text:?}; it must be a number from 1"))
            })?;
        }
        match std::env::var("DATABASE_POOLER").unwrap_or_default().trim() {
            "" => {}
            "session" => config.pooling = Pooling::Session,
            "transaction" => config.pooling = Pooling::Transaction,
            text => {
                let why = format!("DATABASE_POOLER is {text:?}; it must be session or transaction");
                return Err(Error::Configuration(why));
            }
        }
        match std::env::var("COALESCING").unwrap_or_default().trim() {
            "" | "on" => {}
            "off" => config.coalescing = false,
            text => return Err(Error::Configuration(format!("COALESCING is {text:?}; it must be on or off"))),
        }
        Ok(config)
    }
}

/// What a statement answered.
pub(crate) struct Answer {
    pub rows: Vec<PgRow>,
    /// An earlier attempt was sent and its connection broke with no word from the server: it may still be waiting
    /// there, and take effect after this answer. A success is certain all the same (the ids agree); a refusal is not.
    pub in_doubt: bool,
}

tokio::task_local! {
    /// Time spent on the database for the request at hand.
    static DATABASE_TIME: Cell<Duration>;
}

/// Runs a future and tells how long the operations inside it waited for the database.
pub async fn with_database_time<F: Future>(future: F) -> (F::Output, Duration) {
    DATABASE_TIME
        .scope(Cell::new(Duration::ZERO), async {
            let output = future.await;
            (output, DATABASE_TIME.with(Cell::get))
        })
        .await
}

/// Adds to the time of the request at hand what it waited for a statement that another task sent.
pub(crate) fn count_database_time(waited: Duration) {
    let _ = DATABASE_TIME.try_with(|time| time.set(time.get() + waited));
}

/// Sessions, each at READ COMMITTED.
pub(crate) struct Database {
    source: Source,
    wait_max: Duration,
}

/// Where sessions come from.
enum Source {
    Own(Pool<Connector>),
    /// A pool of the caller's. Each statement brings its settings along and leaves none behind.
    Lent(PgPool),
}

/// How often one statement is sent at most.
const ATTEMPT_COUNT_MAX: u32 = 8;

impl Database {
    /// Makes the pool; opens nothing yet.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let url = config.database_url.trim();
        let options = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
            .then(|| PgConnectOptions::from_str(url))
            .ok_or_else(|| Error::Configuration("DATABASE_URL must begin with postgres:// or postgresql://".into()))?
            .map_err(|error| Error::Configuration(format!("DATABASE_URL is not a PostgreSQL URL: {error}")))?
            .application_name("stockhold")
            .disable_statement_logging();
        let connector = Connector { options, wait_max: config.wait_max, pooling: config.pooling };
        let pool = Pool::builder(connector)
            .max_size(config.connections_max.max(1))
            .wait_timeout(Some(config.wait_max))
            .create_timeout(Some(config.wait_max))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Configuration(error.to_string()))?;
        Ok(Self { source: Source::Own(pool), wait_max: config.wait_max })
    }

    /// Works on the connections of a pool of the caller's.
    pub fn lent(pool: PgPool, wait_max: Duration) -> Self {
        Self { source: Source::Lent(pool), wait_max }
    }

    /// Closes the pool's connections; one that is in use is closed when its statement ends. A lent pool is its owner's.
    pub fn close(&self) {
        if let Source::Own(pool) = &self.source {
            pool.close();
        }
    }

    /// Sends a statement until it has an answer: serialization failures, deadlocks, unique ids met and broken
    /// connections are tried again a bounded number of times.
    pub async fn fetch(&self, statement: &Statement, values: &[Value]) -> Result<Answer, Error> {
        self.fetch_timed(statement, values, None).await
    }

    /// The same, sent behind a lock on the item that earlier statements of the same message take: the statement's snapshot
    /// is then as new as the lock. Still one round trip.
    pub async fn fetch_behind_lock(
        &self,
        statement: &Statement,
        values: &[Value],
        item_id: Uuid,
    ) -> Result<Answer, Error> {
        self.fetch_timed(statement, values, Some(item_id)).await
    }

    async fn fetch_timed(
        &self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        let result = self.fetch_untimed(statement, values, locked_item_id).await;
        count_database_time(started.elapsed());
        result
    }

    async fn fetch_untimed(
        &self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> Result<Answer, Error> {
        let mut in_doubt = false;
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(statement, values, locked_item_id).await {
                Ok(rows) => return Ok(Answer { rows, in_doubt }),
                Err(failure) => failure,
            };
            let last = attempt == ATTEMPT_COUNT_MAX;
            match failure {
                Failure::Again(reason) if !last => {
                    tracing::debug!(statement = statement.name, attempt, reason, "sent again");
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..4 << attempt))).await;
                }
                Failure::Again(_) => {
                    return Err(Error::Overloaded { what: "a conflict to end", waited: self.wait_max });
                }
                Failure::Broken { cause, finished } if !last => {
                    in_doubt |= !finished;
                    tracing::warn!(statement = statement.name, attempt, cause, "connection broke; sent again");
                    // A server that restarts refuses connections for a moment.
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..16 << attempt))).await;
                }
                Failure::Broken { cause, .. } => return Err(Error::Unavailable(cause)),
                // An earlier attempt may yet take effect, so the caller cannot be told that nothing was changed.
                Failure::Final(error) if in_doubt => return Err(Error::Unavailable(error.to_string())),
                Failure::Final(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> Result<Vec<PgRow>, Failure> {
        let mut session = self.session().await?;
        // A future dropped while it waits leaves the flag up, and the session is not used again.
        session.busy = true;
        let run = session.run(statement, values, locked_item_id);
        // The server's own timeouts come first; this one is for a server that no longer answers.
        let answer = tokio::time::timeout(self.wait_max * 3, run).await;
        let failure = match answer {
            Ok(Ok(rows)) => {
                session.busy = false;
                return Ok(rows);
            }
            Ok(Err(error)) => self.classify(statement, error),
            Err(_) => Failure::Broken { cause: format!("no answer within {:?}", self.wait_max * 3), finished: false },
        };
        match failure {
            // The statement failed and the session lives.
            Failure::Again(_) | Failure::Final(_) => session.busy = false,
            // The idle sessions were opened before whatever broke this one.
            Failure::Broken { .. } => {
                if let Lease::Own(session) = session {
                    drop(Object::take(session));
                }
                if let Source::Own(pool) = &self.source {
                    pool.retain(|_, _| false);
                }
            }
        }
        Err(failure)
    }

    async fn session(&self) -> Result<Lease, Failure> {
        let pool = match &self.source {
            Source::Own(pool) => pool,
            Source::Lent(pool) => {
                let waited = tokio::time::timeout(self.wait_max, pool.acquire()).await;
                return match waited.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                    Ok(connection) => Ok(Lease::Lent(Session {
                        connection: Link::Lent(connection),
                        busy: false,
                        preamble: Some(preamble(self.wait_max)),
                    })),
                    Err(sqlx::Error::PoolTimedOut) => {
                        Err(Failure::Final(Error::Overloaded { what: "a database connection", waited: self.wait_max }))
                    }
                    Err(error @ sqlx::Error::PoolClosed) => Err(Failure::Final(Error::Unavailable(error.to_string()))),
                    Err(error) => Err(Failure::Broken { cause: error.to_string(), finished: true }),
                };
            }
        };
        pool.get().await.map(Lease::Own).map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                Failure::Final(Error::Overloaded { what: "a database connection", waited: self.wait_max })
            }
            PoolError::Timeout(_) => {
                Failure::Final(Error::Unavailable(format!("no connection within {:?}", self.wait_max)))
            }
            PoolError::Backend(sqlx::Error::Database(error)) if sqlstate(&*error).starts_with("28") => {
                Failure::Final(Error::Unavailable(error.message().to_owned()))
            }
            PoolError::Backend(error) => Failure::Broken { cause: error.to_string(), finished: true },
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Failure::Final(Error::Unavailable(error.to_string()))
            }
        })
    }

    /// What a failed attempt means for the next one (PostgreSQL, appendix A, names the states).
    fn classify(&self, statement: &Statement, error: sqlx::Error) -> Failure {
        let sqlx::Error::Database(database_error) = &error else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                    Failure::Broken { cause: error.to_string(), finished: false }
                }
                error => Failure::Final(Error::Internal { statement: statement.name, cause: error.to_string() }),
            };
        };
        match sqlstate(&**database_error) {
            "40001" => Failure::Again("serialization failure"),
            "40P01" => Failure::Again("deadlock"),
            // Another call, often an earlier attempt of this one, made the row that carries this id or key.
            "23505" if database_error.constraint().is_some_and(names_a_request) => Failure::Again("repeated request"),
            "55P03" => Failure::Final(Error::Overloaded { what: "a lock", waited: self.wait_max }),
            "57014" => Failure::Final(Error::Overloaded { what: "a statement to end", waited: self.wait_max * 2 }),
            "53300" => Failure::Final(Error::Overloaded { what: "a database connection", waited: Duration::ZERO }),
            // The server ended the session itself, so nothing of the attempt is left running.
            state if state.starts_with("57P") || state.starts_with("08") => {
                Failure::Broken { cause: database_error.message().to_owned(), finished: true }
            }
            state => Failure::Final(Error::Internal {
                statement: statement.name,
                cause: format!("{} (SQLSTATE {state})", database_error.message()),
            }),
        }
    }

    /// Opens a connection, unless one is open.
    pub async fn ping(&self) -> Result<(), Error> {
        self.session().await.map(drop).map_err(Failure::into_error)
    }
}

impl Fetch for &Database {
    async fn fetch(&mut self, statement: &Statement, values: &[Value]) -> Result<Answer, Error> {
        Database::fetch(self, statement, values).await
    }

    async fn fetch_behind_lock(
        &mut self,
        statement: &Statement,
        values: &[Value],
        item_id: Uuid,
    ) -> Result<Answer, Error> {
        Database::fetch_behind_lock(self, statement, values, item_id).await
    }
}

/// The unique constraints that a request sent twice meets.
fn names_a_request(constraint: &str) -> bool {
    matches!(
        constraint,
        "item_id_unique"
            | "item_idempotency_key_unique"
            | "reservation_id_unique"
            | "reservation_idempotency_key_unique"
    )
}

fn sqlstate(error: &dyn sqlx::error::DatabaseError) -> &str {
    error.downcast_ref::<sqlx::postgres::PgDatabaseError>().code()
}

enum Failure {
    /// Rolled back; the same statement may succeed at once.
    Again(&'static str),
    /// The connection is gone. `finished`: and whatever it was doing is over.
    Broken {
        cause: String,
        finished: bool,
    },
    Final(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::Again(reason) => Error::Unavailable(reason.to_owned()),
            Failure::Broken { cause, .. } => Error::Unavailable(cause),
            Failure::Final(error) => error,
        }
    }
}

/// One connection and whether a statement is under way on it.
pub(crate) struct Session {
    connection: Link,
    busy: bool,
    /// What begins every transaction, where the session cannot keep settings.
    preamble: Option<String>,
}

/// A connection of our own, or one of a pool of the caller's.
enum Link {
    Own(PgConnection),
    Lent(PoolConnection<Postgres>),
}

impl Deref for Link {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }
}

/// A session for one statement.
enum Lease {
    Own(Object<Connector>),
    Lent(Session),
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Self::Own(session) => session,
            Self::Lent(session) => session,
        }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        match self {
            Self::Own(session) => session,
            Self::Lent(session) => session,
        }
    }
}

impl Drop for Session {
    /// A lent connection goes back with nothing under way on it, or not at all.
    fn drop(&mut self) {
        if let Link::Lent(connection) = &mut self.connection
            && self.busy
        {
            connection.close_on_drop();
        }
    }
}

/// Takes an item's place in the queue, then its row, as every statement here does.
fn lock_item(item_id: Uuid) -> String {
    format!(
        "select pg_advisory_xact_lock(hashtextextended('{item_id}', 0)); \
         select count(*) from (select from stockhold.items where id = '{item_id}' for no key update) as locked"
    )
}

const ISOLATION: &str = "isolation level read committed, read write";

/// What begins a transaction on a session that keeps no settings of ours.
fn preamble(wait_max: Duration) -> String {
    let wait_ms_max = wait_max.as_millis();
    let statement_ms_max = wait_ms_max * 2;
    format!(
        "begin {ISOLATION}; \
         set local timezone = 'UTC'; \
         set local enable_seqscan = off; \
         set local lock_timeout = {wait_ms_max}; \
         set local statement_timeout = {statement_ms_max}; \
         set local idle_in_transaction_session_timeout = {wait_ms_max}; "
    )
}

impl Session {
    async fn run(
        &mut self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        if self.preamble.is_none() && locked_item_id.is_none() {
            let arguments = statement.arguments(values)?;
            return self.connection.fetch_all(sqlx::query_with(statement.sql, arguments)).await;
        }
        let mut message = self.preamble.clone().unwrap_or_else(|| "begin; ".to_owned());
        if let Some(item_id) = locked_item_id {
            message.push_str(&lock_item(item_id));
            message.push_str("; ");
        }
        message.push_str(&statement.inline(values));
        message.push_str("; commit");
        let result = sqlx::raw_sql(AssertSqlSafe(message).into_sql_str()).fetch_all(&mut *self.connection).await;
        match result {
            // The locks' own rows come first.
            Ok(rows) if locked_item_id.is_some() => Ok(rows.into_iter().skip(2).collect()),
            Ok(rows) => Ok(rows),
            Err(error) => {
                sqlx::raw_sql("rollback").execute(&mut *self.connection).await?;
                Err(error)
            }
        }
    }
}

/// A session that was quiet for longer is tried before it is used.
const QUIET_MAX: Duration = Duration::from_secs(60);
const PING_WAIT_MAX: Duration = Duration::from_secs(2);

/// Opens sessions and says which may be used again. A pool that pings on every release, as sqlx's does, would cost each
/// operation a second round trip.
struct Connector {
    options: PgConnectOptions,
    wait_max: Duration,
    pooling: Pooling,
}

impl managed::Manager for Connector {
    type Type = Session;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Session, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        // Every statement here decides on the newest version of the rows it locked, which is what READ COMMITTED gives;
        // the server's default may be another. The plans do not depend on the values, so one generic plan serves; it may be
        // made while the tables are empty, and no statement here means to read a whole one, however small.
        let wait_ms_max = self.wait_max.as_millis();
        let statement_ms_max = wait_ms_max * 2;
        let preamble = match self.pooling {
            Pooling::Session => {
                let settings = format!(
                    "set session characteristics as transaction {ISOLATION}; \
                     set timezone = 'UTC'; \
                     set lock_timeout = {wait_ms_max}; \
                     set statement_timeout = {statement_ms_max}; \
                     set idle_in_transaction_session_timeout = {wait_ms_max}; \
                     set enable_seqscan = off; \
                     set plan_cache_mode = force_generic_plan"
                );
                sqlx::raw_sql(AssertSqlSafe(settings).into_sql_str()).execute(&mut connection).await?;
                None
            }
            Pooling::Transaction => Some(preamble(self.wait_max)),
        };
        Ok(Session { connection: Link::Own(connection), busy: false, preamble })
    }

    async fn recycle(&self, session: &mut Session, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if session.busy {
            return Err(RecycleError::message("a statement was left under way"));
        }
        // A network may forget a connection that was quiet for long, and a frozen function's always was.
        if metrics.last_used() > QUIET_MAX {
            tokio::time::timeout(PING_WAIT_MAX, session.connection.ping())
                .await
                .map_err(|_| RecycleError::message("no answer after a quiet time"))?
                .map_err(RecycleError::Backend)?;
        }
        Ok(())
    }
}
