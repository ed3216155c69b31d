//! Read one item's ledger, a page at a time.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::bucket::bucket;
use crate::db::Database;
use crate::error::Error;
use crate::ledger::{Kind, LedgerEntry, LedgerPage};
use crate::statement::{Statement, Value, statement};

const GET_LEDGER: Statement = statement!("get_ledger");

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerQuery {
    /// The version after which the page begins; 0 for the first page.
    pub after_version: i64,
    /// Entries on it at most, from 1.
    pub entry_count_max: i64,
}

impl LedgerQuery {
    /// A page behind a version, of so many entries at most.
    pub fn after(after_version: i64, entry_count_max: i64) -> Self {
        Self { after_version, entry_count_max }
    }
}

/// One entry; all but the item is null when the page is empty.
#[derive(sqlx::FromRow)]
struct Row {
    item_id: Uuid,
    version: Option<i64>,
    reservation_id: Option<Uuid>,
    kind: Option<Kind>,
    quantity: Option<i64>,
    total_quantity: Option<i64>,
    held_quantity: Option<i64>,
    confirmed_quantity: Option<i64>,
    recorded_at: Option<DateTime<Utc>>,
}

impl Row {
    fn entry(self) -> Option<LedgerEntry> {
        Some(LedgerEntry {
            item_id: self.item_id,
            version: self.version?,
            reservation_id: self.reservation_id,
            kind: self.kind?,
            quantity: self.quantity?,
            total_quantity: self.total_quantity?,
            held_quantity: self.held_quantity?,
            confirmed_quantity: self.confirmed_quantity?,
            recorded_at: self.recorded_at?,
        })
    }
}

/// The page, or none when there is no such item.
pub(crate) async fn get_ledger(
    database: &Database,
    item_id: Uuid,
    query: LedgerQuery,
) -> Result<Option<LedgerPage>, Error> {
    let values = [
        Value::Uuid(item_id),
        Value::Bigint(query.after_version),
        Value::Bigint(query.entry_count_max),
        Value::Bucket(bucket(item_id)),
    ];
    let answer = database.fetch(&GET_LEDGER, &values).await?;
    if answer.rows.is_empty() {
        return Ok(None);
    }
    let rows: Vec<Row> = GET_LEDGER.decode(&answer.rows)?;
    let mut entries: Vec<LedgerEntry> = rows.into_iter().filter_map(Row::entry).collect();
    let entry_count_max = usize::try_from(query.entry_count_max).unwrap_or(usize::MAX);
    let more = entries.len() > entry_count_max;
    entries.truncate(entry_count_max);
    let next_after_version = entries.last().filter(|_| more).map(|entry| entry.version);
    Ok(Some(LedgerPage { entries, next_after_version }))
}
