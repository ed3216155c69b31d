//! Refuse a reservation of an item that is sold out, at the price of a read.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::bucket::bucket;
use crate::coalesce::{Coalesce, Member};
use crate::db::Database;
use crate::error::Error;
use crate::statement::{Statement, Value, statement};

const REFUSE: Statement = statement!("refuse");

/// A reservation that is expected to be refused.
pub(crate) struct Call {
    pub quantity: i64,
    pub idempotency_key: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    available_quantity: i64,
    known_keys: Vec<String>,
}

/// The operation: one read answers every call that waits for the same item.
pub(crate) struct Refusals {
    pub database: Arc<Database>,
}

impl Refusals {
    /// For each call, what is available when `reserve` would refuse it; none when it might not.
    async fn refuse(&self, item_id: Uuid, calls: &[&Call]) -> Result<Vec<Option<i64>>, Error> {
        let keys: Vec<_> = calls.iter().filter_map(|call| call.idempotency_key.as_deref()).collect();
        let values = [Value::Uuid(item_id), Value::Json(json!(keys)), Value::Bucket(bucket(item_id))];
        let answer = self.database.fetch(&REFUSE, &values).await?;
        let Some(Row { available_quantity, known_keys }) = REFUSE.decode_first(&answer)? else {
            return Ok(vec![None; calls.len()]);
        };
        let is_refused = |call: &&Call| {
            call.quantity > available_quantity
                && call.idempotency_key.as_ref().is_none_or(|key| !known_keys.contains(key))
        };
        Ok(calls.iter().map(|call| is_refused(call).then_some(available_quantity)).collect())
    }
}

impl Coalesce for Refusals {
    type Queue = Uuid;
    type Call = Call;
    type Answer = Option<i64>;

    async fn send_alone(&self, item_id: Uuid, call: &Call) -> Result<Option<i64>, Error> {
        Ok(self.refuse(item_id, &[call]).await?.pop().flatten())
    }

    async fn send_together(&self, item_id: Uuid, members: Vec<Member<Self>>) -> Result<(), (Error, Vec<Member<Self>>)> {
        let calls: Vec<_> = members.iter().map(|member| &member.call).collect();
        match self.refuse(item_id, &calls).await {
            Ok(answers) => members.into_iter().zip(answers).for_each(|(member, answer)| member.answer(Ok(answer))),
            Err(error) => return Err((error, members)),
        }
        Ok(())
    }
}
