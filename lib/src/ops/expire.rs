//! Record lapsed holds as EXPIRED and give their units back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::Database;
use crate::error::Error;
use crate::statement::{Statement, Value, statement};
use crate::text::integer;

const EXPIRE: Statement = statement!("expire");

/// Holds one statement records at most: they bound how long it keeps an item locked, and how long whoever reserves
/// meanwhile waits for a processor.
const BATCH_HOLD_COUNT_MAX: i64 = 10;

integer! {
    /// Holds one sweep records at most: 1 to 10,000, 1,000 unless said otherwise.
    SweepLimit, 1, 10_000, "Holds."
}

impl Default for SweepLimit {
    fn default() -> Self {
        Self(1_000)
    }
}

/// How much to sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ExpireOptions {
    /// Holds to record at most.
    #[serde(default)]
    #[cfg_attr(feature = "http", schemars(with = "Option<SweepLimit>"))]
    pub limit: SweepLimit,
}

impl ExpireOptions {
    /// So many holds at most.
    pub fn limited(limit: SweepLimit) -> Self {
        Self { limit }
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct Expire {
    /// Holds recorded as EXPIRED.
    pub expired_count: i64,
    /// Units they gave back.
    pub released_quantity: i64,
    /// Whether more lapsed holds are due: beyond the limit, or of an item that was busy.
    pub has_more: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    expired_count: i64,
    released_quantity: i64,
    busy_item_ids: Vec<Uuid>,
    last_deadline: Option<DateTime<Utc>>,
    has_more: bool,
}

/// Batch by batch, each in a transaction of its own, until the limit is reached or nothing more is due. An item that
/// was busy is left out of the batches that follow, so that it keeps none of the others waiting. Each batch begins at the
/// deadline where the one before ended.
pub(crate) async fn expire(database: &Database, options: ExpireOptions) -> Result<Expire, Error> {
    let limit = options.limit.get();
    let mut expire = Expire::default();
    let (mut busy_item_ids, mut expires_from) = (Vec::new(), None);
    loop {
        let hold_count_max = BATCH_HOLD_COUNT_MAX.min(limit - expire.expired_count);
        let values = [Value::Bigint(hold_count_max), Value::Uuids(busy_item_ids.clone()), Value::Instant(expires_from)];
        let answer = database.fetch(&EXPIRE, &values).await?;
        let row: Row = EXPIRE.decode_first(&answer)?.ok_or_else(|| EXPIRE.unexpected("no row"))?;
        expire.expired_count += row.expired_count;
        expire.released_quantity += row.released_quantity;
        busy_item_ids.extend(row.busy_item_ids);
        expires_from = row.last_deadline;
        expire.has_more = row.has_more || !busy_item_ids.is_empty();
        let exhausted = !row.has_more || busy_item_ids.len() as i64 >= limit;
        if exhausted || expire.expired_count >= limit {
            return Ok(expire);
        }
    }
}
