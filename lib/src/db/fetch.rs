//! What runs a statement: the pool, with its retries, or a transaction of the caller's.

use uuid::Uuid;

use super::Answer;
use crate::error::Error;
use crate::statement::{Statement, Value};

pub(crate) trait Fetch: Send {
    /// Sends a statement; given an item, behind a lock on it, so that the statement's snapshot is as new as the lock.
    fn send(
        &mut self,
        statement: &Statement,
        values: &[Value],
        locked_item_id: Option<Uuid>,
    ) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// Sends a statement behind no lock.
    fn fetch(&mut self, statement: &Statement, values: &[Value]) -> impl Future<Output = Result<Answer, Error>> + Send {
        self.send(statement, values, None)
    }
}
