//! Connections: the pool, the sessions' settings, and one statement on one session.

use std::str::FromStr;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, TimeoutType};
use either::Either;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgPool, Postgres, SqlSafeStr};
use uuid::Uuid;

use super::config::{Config, Pooling};
use super::failure::{Failure, sqlstate};
use crate::error::Error;
use crate::statement::{Statement, Value};

/// Sessions, each at READ COMMITTED.
pub(crate) struct Database {
    pub(super) source: Source,
    pub(super) wait_max: Duration,
}

/// Where sessions come from.
pub(super) enum Source {
    Own(Pool<Connector>),
    /// A pool of the caller's. Each statement brings its settings along and leaves none behind.
    Lent(PgPool),
}

/// A session for one statement: of our own pool, or on a connection of the caller's.
pub(super) type Lease = Either<Object<Connector>, Box<Session>>;

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

    pub(super) async fn session(&self) -> Result<Lease, Failure> {
        let pool = match &self.source {
            Source::Own(pool) => pool,
            Source::Lent(pool) => {
                let waited = tokio::time::timeout(self.wait_max, pool.acquire()).await;
                return match waited.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                    Ok(connection) => Ok(Either::Right(Box::new(Session {
                        connection: Either::Right(connection),
                        busy: false,
                        preamble: Some(preamble(self.wait_max)),
                    }))),
                    Err(sqlx::Error::PoolTimedOut) => {
                        Err(Failure::Final(Error::Overloaded { what: "a database connection", waited: self.wait_max }))
                    }
                    Err(error @ sqlx::Error::PoolClosed) => Err(Failure::Final(Error::Unavailable(error.to_string()))),
                    Err(error) => Err(Failure::Broken { cause: error.to_string(), finished: true }),
                };
            }
        };
        pool.get().await.map(Either::Left).map_err(|error| match error {
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

    /// Opens a connection, unless one is open.
    pub async fn ping(&self) -> Result<(), Error> {
        self.session().await.map(drop).map_err(Failure::into_error)
    }
}

/// One connection, of our own or of the caller's pool, and whether a statement is in flight on it.
pub(crate) struct Session {
    pub connection: Either<Box<PgConnection>, PoolConnection<Postgres>>,
    /// A future that is dropped while it waits leaves it so, and the session is not used again.
    pub busy: bool,
    /// What begins every transaction, where the session cannot keep settings.
    preamble: Option<String>,
}

impl Drop for Session {
    /// A lent connection goes back with nothing under way on it, or not at all.
    fn drop(&mut self) {
        if let Either::Right(connection) = &mut self.connection
            && self.busy
        {
            connection.close_on_drop();
        }
    }
}

/// Takes an item's place in the queue, then its row, as every statement here does.
pub(super) fn lock_item(item_id: Uuid) -> String {
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
    pub async fn run(
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
pub(super) struct Connector {
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
        Ok(Session { connection: Either::Left(Box::new(connection)), busy: false, preamble })
    }

    async fn recycle(&self, session: &mut Session, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if session.busy {
            return Err(RecycleError::message("a statement was left in flight"));
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
