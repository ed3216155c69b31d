//! Refuse a reservation of an item that is sold out, at the price of a read. A hint, kept in memory, says for which items
//! that is worth trying first; it decides nothing, and a wrong one costs a round trip.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::coalesce::{Coalesce, Member};
use crate::db::Database;
use crate::error::Error;
use crate::statement::{Statement, Value};

const REFUSE: Statement = Statement { name: "refuse", sql: include_str!("refuse.sql") };

/// How long a hint is believed.
const HINT_LIFETIME: Duration = Duration::from_secs(1);

/// Items remembered at most.
const HINT_COUNT_MAX: usize = 10_000;

/// When each item was last found sold out, or scarce.
#[derive(Default)]
pub(crate) struct Hints {
    found_at: Mutex<HashMap<Uuid, Instant>>,
}

impl Hints {
    pub fn is_fresh(&self, item_id: Uuid) -> bool {
        let found_at = self.found_at.lock().unwrap_or_else(PoisonError::into_inner);
        found_at.get(&item_id).is_some_and(|instant| instant.elapsed() < HINT_LIFETIME)
    }

    pub fn remember(&self, item_id: Uuid) {
        let mut found_at = self.found_at.lock().unwrap_or_else(PoisonError::into_inner);
        if found_at.len() >= HINT_COUNT_MAX {
            found_at.retain(|_, instant| instant.elapsed() < HINT_LIFETIME);
        }
        if found_at.len() < HINT_COUNT_MAX {
            found_at.insert(item_id, Instant::now());
        }
    }

    pub fn forget(&self, item_id: Uuid) {
        self.found_at.lock().unwrap_or_else(PoisonError::into_inner).remove(&item_id);
    }
}

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
        let answer = self.database.fetch(&REFUSE, &[Value::Uuid(item_id), Value::Json(json!(keys))]).await?;
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
    type Lane = Uuid;
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
