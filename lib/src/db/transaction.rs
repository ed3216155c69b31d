//! A transaction of the caller's: each statement is sent once, and what it locks stays locked until the caller commits.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row, SqlSafeStr};
use uuid::Uuid;

use super::Answer;
use super::failure::sqlstate;
use super::fetch::Fetch;
use super::pool::lock_item;
use crate::error::Error;
use crate::statement::{Statement, Value};

pub(crate) struct Transaction<'c>(&'c mut PgConnection);

impl<'c> Transaction<'c> {
    /// Refuses a connection whose statements would not decide on the newest version of the rows they lock.
    pub async fn of(connection: &'c mut PgConnection) -> Result<Self, Error> {
        let row = sqlx::query("select current_setting('transaction_isolation')")
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| failure("transaction_isolation", error))?;
        let isolation: String = row.try_get(0).map_err(|error| failure("transaction_isolation", error))?;
        if isolation != "read committed" {
            return Err(Error::NotReadCommitted(isolation));
        }
        Ok(Self(connection))
    }
}

impl Fetch for Transaction<'_> {
    async fn send(
        &mut self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> Result<Answer, Error> {
        let failed = |error| failure(statement.name, error);
        if let Some(item_id) = locked_item_id {
            sqlx::raw_sql(AssertSqlSafe(lock_item(item_id)).into_sql_str())
                .execute(&mut *self.0)
                .await
                .map_err(failed)?;
        }
        let arguments = statement.arguments(values).map_err(failed)?;
        let rows = self.0.fetch_all(sqlx::query_with(statement.sql, arguments)).await.map_err(failed)?;
        Ok(Answer { rows, in_doubt: false })
    }
}

/// A statement that failed has ended the transaction. A conflict or a lost connection may be over in the next one.
fn failure(statement: &'static str, error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(error) => match sqlstate(&*error) {
            "40001" | "40P01" | "23505" | "55P03" => {
                Error::Overloaded { what: "another transaction to end", waited: std::time::Duration::ZERO }
            }
            state if state.starts_with("57P") || state.starts_with("08") => {
                Error::Unavailable(error.message().to_owned())
            }
            state => Error::Internal { statement, cause: format!("{} (SQLSTATE {state})", error.message()) },
        },
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Error::Unavailable(error.to_string())
        }
        error => Error::Internal { statement, cause: error.to_string() },
    }
}
