//! Refuse a reservation of an item that is sold out, at the price of a read. A hint, kept in memory, says for which items
//! that is worth trying first; it decides nothing, and a wrong one costs a round trip.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::db::Database;
use crate::error::Error;
use crate::statement::{Statement, Value};

const REFUSE: Statement = Statement { name: "refuse", sql: include_str!("refuse.sql") };

/// How long after a refusal the next one is expected.
const HINT_LIFETIME: Duration = Duration::from_secs(1);

/// Items remembered at most.
const HINT_COUNT_MAX: usize = 10_000;

/// When each item was last found sold out.
#[derive(Default)]
pub(crate) struct SoldOutHints {
    refused_at: Mutex<HashMap<Uuid, Instant>>,
}

impl SoldOutHints {
    pub fn expects_refusal(&self, item_id: Uuid) -> bool {
        let refused_at = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        refused_at.get(&item_id).is_some_and(|instant| instant.elapsed() < HINT_LIFETIME)
    }

    pub fn remember(&self, item_id: Uuid) {
        let mut refused_at = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        if refused_at.len() >= HINT_COUNT_MAX {
            refused_at.retain(|_, instant| instant.elapsed() < HINT_LIFETIME);
        }
        if refused_at.len() < HINT_COUNT_MAX {
            refused_at.insert(item_id, Instant::now());
        }
    }

    pub fn forget(&self, item_id: Uuid) {
        self.refused_at.lock().unwrap_or_else(PoisonError::into_inner).remove(&item_id);
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    available_quantity: i64,
}

/// What is available, when `reserve` would refuse; none when it might not.
pub(crate) async fn refuse(
    database: &Database,
    item_id: Uuid,
    quantity: i64,
    idempotency_key: Option<&str>,
) -> Result<Option<i64>, Error> {
    let key = idempotency_key.map(str::to_owned);
    let values = [Value::Uuid(item_id), Value::Bigint(quantity), Value::Text(key)];
    let answer = database.fetch(&REFUSE, &values).await?;
    let row: Option<Row> = REFUSE.decode_first(&answer)?;
    Ok(row.map(|row| row.available_quantity))
}
