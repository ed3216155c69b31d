//! The migrations: each is applied once, in a transaction of its own, and gives way to the calls that it would stop.

use std::time::{Duration, Instant};

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};

use super::failure::{Failure, sqlstate};
use super::pool::Database;
use crate::error::Error;

/// One file of the schema. Once released it is never edited: the next one changes what it made.
struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "0001_stockhold", sql: include_str!("../../migrations/0001_stockhold.sql") }];

/// How long a migration is tried while other transactions hold the locks that it needs.
const WAIT_MAX: Duration = Duration::from_secs(60);

const STATE: &str = "select
    current_setting('server_encoding') as encoding,
    pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as read_only,
    to_regclass('stockhold.migrations') is not null as has_schema";

const VERSION: &str = "select coalesce(max(version), 0) as version from stockhold.migrations";

impl Database {
    /// Applies the migrations that the database lacks. Where none is missing, two reads are all.
    pub async fn migrate(&self) -> Result<(), Error> {
        for migration in MIGRATIONS {
            let started = Instant::now();
            while self.applied_version().await? < migration.version {
                match self.apply(migration).await? {
                    Applied::Done => break,
                    Applied::InTheWay(what) if started.elapsed() >= WAIT_MAX => {
                        return Err(Error::Overloaded { what, waited: started.elapsed() });
                    }
                    Applied::InTheWay(what) => {
                        tracing::info!(migration = migration.name, what, "waits and is tried again");
                        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..500))).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// The newest version in the database; 0 where there is no schema.
    async fn applied_version(&self) -> Result<i32, Error> {
        let row = self.read(STATE).await?;
        let encoding: String = row.try_get("encoding").map_err(odd)?;
        if encoding != "UTF8" {
            return Err(Error::Configuration(format!(
                "the database's encoding is {encoding}: create it with encoding 'UTF8'"
            )));
        }
        if row.try_get::<bool, _>("read_only").map_err(odd)? {
            let why = "the database cannot be written (a standby, or read only): name the primary in DATABASE_URL";
            return Err(Error::Configuration(why.to_owned()));
        }
        if !row.try_get::<bool, _>("has_schema").map_err(odd)? {
            return Ok(0);
        }
        let version: i32 = self.read(VERSION).await?.try_get("version").map_err(odd)?;
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
        if version > newest {
            return Err(Error::Configuration(format!(
                "the database has version {version} of the schema, and this program knows {newest}: use a newer program"
            )));
        }
        Ok(version)
    }

    async fn read(&self, sql: &str) -> Result<PgRow, Error> {
        let row = self.run(sql).await?.map_err(|error| refused("the schema's version", &*error))?;
        row.ok_or_else(|| odd("no row"))
    }

    async fn apply(&self, migration: &Migration) -> Result<Applied, Error> {
        match self.run(migration.sql).await? {
            Ok(_) => Ok(Applied::Done),
            Err(error) => match sqlstate(&*error) {
                "55P03" => Ok(Applied::InTheWay("the locks of a migration")),
                "40P01" | "40001" => Ok(Applied::InTheWay("a migration's conflict to end")),
                // Another start made the object while this one waited: the wait does not refresh the session's catalog cache.
                "23505" | "42P06" | "42P07" | "42710" => Ok(Applied::InTheWay("another start's migration to end")),
                _ => Err(refused(migration.name, &*error)),
            },
        }
    }

    /// Sends a text, and gives what the server says of it: the last statement's first row, or its error. The session of an
    /// error is not used again.
    async fn run(&self, sql: &str) -> Result<Result<Option<PgRow>, Box<dyn sqlx::error::DatabaseError>>, Error> {
        let mut session = self.session().await.map_err(Failure::into_error)?;
        session.busy = true;
        let text = AssertSqlSafe(sql.to_owned()).into_sql_str();
        match sqlx::raw_sql(text).fetch_optional(&mut *session.connection).await {
            Ok(row) => {
                session.busy = false;
                Ok(Ok(row))
            }
            Err(sqlx::Error::Database(error)) => Ok(Err(error)),
            Err(error) => Err(Error::Unavailable(error.to_string())),
        }
    }
}

/// What became of one attempt.
enum Applied {
    Done,
    /// Rolled back, because of what other transactions do.
    InTheWay(&'static str),
}

fn refused(statement: &'static str, error: &dyn sqlx::error::DatabaseError) -> Error {
    Error::Internal { statement, cause: format!("{} (SQLSTATE {})", error.message(), sqlstate(error)) }
}

fn odd(cause: impl ToString) -> Error {
    Error::Internal { statement: "the schema's version", cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::MIGRATIONS;
    use crate::statement::hexadecimal;

    /// An applied migration is never applied again, so an edit would reach new databases alone.
    #[test]
    fn a_migration_is_never_edited() {
        let digests = ["\\x63f47ea6626a16b46ad825cbbe4c72ed239badeab9f0f93b3afd3b2e06727113"];
        assert_eq!(MIGRATIONS.len(), digests.len());
        for (migration, digest) in MIGRATIONS.iter().zip(digests) {
            let found = hexadecimal(&Sha256::digest(migration.sql));
            assert_eq!(found, digest, "{} has changed: write the next migration instead", migration.name);
        }
    }
}
