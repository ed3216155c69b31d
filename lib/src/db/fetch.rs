//! What runs a statement: the pool, with its retries, or a transaction of the caller's.

use uuid::Uuid;

use super::Answer;
use crate::error::Error;
use crate::statement::{Statement, Value};

pub(crate) trait Fetch: Send {
    fn fetch(&mut self, statement: &Statement, values: &[Value]) -> impl Future<Output = Result<Answer, Error>> + Send;

    /// The same, behind a lock on the item: the statement's snapshot is then as new as the lock.
    fn fetch_behind_lock(
        &mut self,
        statement: &Statement,
        values: &[Value],
        item_id: Uuid,
    ) -> impl Future<Output = Result<Answer, Error>> + Send;
}
