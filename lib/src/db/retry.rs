//! Sends a statement until it has an answer.
//!
//! A statement may be sent more than once; every operation carries the ids of what it makes, so the second time is a repeat.

use std::time::{Duration, Instant};

use deadpool::managed::Object;
use either::Either;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Answer;
use super::failure::Failure;
use super::fetch::Fetch;
use super::pool::{Database, Source};
use super::time::count_database_time;
use crate::error::Error;
use crate::statement::{Statement, Value};

/// How often one statement is sent at most.
const ATTEMPT_COUNT_MAX: u32 = 8;

impl Database {
    /// Sends a statement until it has an answer: serialization failures, deadlocks, unique ids met and broken
    /// connections are tried again a bounded number of times.
    pub async fn fetch(&self, statement: &Statement, values: &[Value]) -> Result<Answer, Error> {
        self.send(statement, values, None).await
    }

    async fn send(
        &self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        let result = self.retry(statement, values, locked_item_id).await;
        count_database_time(started.elapsed());
        result
    }

    async fn retry(
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
                Failure::Again { repeated: true, .. } if statement.leaves_repeats => {
                    return Ok(Answer { rows: Vec::new(), in_doubt });
                }
                Failure::Again { reason, .. } if !last => {
                    tracing::debug!(statement = statement.name, attempt, reason, "sent again");
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..4 << attempt))).await;
                }
                Failure::Again { .. } => {
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
        session.busy = true;
        let run = session.run(statement, values, locked_item_id);
        // The server's own timeouts come first; this one is for a server that no longer answers.
        let answer = tokio::time::timeout(self.wait_max * 3, run).await;
        let failure = match answer {
            Ok(Ok(rows)) => {
                session.busy = false;
                return Ok(rows);
            }
            Ok(Err(error)) => Failure::of(statement, error, self.wait_max),
            Err(_) => Failure::Broken { cause: format!("no answer within {:?}", self.wait_max * 3), finished: false },
        };
        match failure {
            // The statement failed and the session lives.
            Failure::Again { .. } | Failure::Final(_) => session.busy = false,
            // A failover or a restart breaks the idle sessions as well: they are opened anew.
            Failure::Broken { .. } => {
                if let Either::Left(session) = session {
                    drop(Object::take(session));
                }
                if let Source::Own(pool) = &self.source {
                    pool.retain(|_, _| false);
                }
            }
        }
        Err(failure)
    }
}

impl Fetch for &Database {
    async fn send(
        &mut self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> Result<Answer, Error> {
        Database::send(self, statement, values, locked_item_id).await
    }
}
