//! Where the database is, how it is reached, and how much of it this process may use.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::error::Error;

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
