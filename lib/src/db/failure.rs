//! What a failed attempt means for the next one: the table of SQLSTATEs.

use std::time::Duration;

use crate::error::Error;
use crate::statement::Statement;

pub(super) enum Failure {
    /// Rolled back; the same statement may succeed at once. `repeated`: another call, often an earlier attempt of this one,
    /// made the row that carries this id or key.
    Again {
        reason: &'static str,
        repeated: bool,
    },
    /// The connection is gone. `finished`: the server has ended the statement that was in flight on it.
    Broken {
        cause: String,
        finished: bool,
    },
    Final(Error),
}

impl Failure {
    /// What a failed attempt means for the next one (PostgreSQL, appendix A, names the states).
    pub fn of(statement: &Statement, error: sqlx::Error, wait_max: Duration) -> Self {
        let sqlx::Error::Database(database_error) = &error else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                    Failure::Broken { cause: error.to_string(), finished: false }
                }
                error => Failure::Final(Error::Internal { statement: statement.name, cause: error.to_string() }),
            };
        };
        match sqlstate(&**database_error) {
            "40001" => Failure::Again { reason: "serialization failure", repeated: false },
            "40P01" => Failure::Again { reason: "deadlock", repeated: false },
            "23505" if database_error.constraint().is_some_and(names_a_request) => {
                Failure::Again { reason: "repeated request", repeated: true }
            }
            "55P03" => Failure::Final(Error::Overloaded { what: "a lock", waited: wait_max }),
            "57014" => Failure::Final(Error::Overloaded { what: "a statement to end", waited: wait_max * 2 }),
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

    pub fn into_error(self) -> Error {
        match self {
            Failure::Again { reason, .. } => Error::Unavailable(reason.to_owned()),
            Failure::Broken { cause, .. } => Error::Unavailable(cause),
            Failure::Final(error) => error,
        }
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
            | "ledger_idempotency_key_unique"
    )
}

pub(super) fn sqlstate(error: &dyn sqlx::error::DatabaseError) -> &str {
    error.downcast_ref::<sqlx::postgres::PgDatabaseError>().code()
}
