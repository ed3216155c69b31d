//! The items a measurement uses, and the account of them: every unit that an answer gave or took is counted here, and in
//! the end the service's own audit must say the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, Row};
use tokio::time::timeout;
use uuid::Uuid;

use stockhold_harness::internal::target::{Connection as HttpConnection, Origin};

const AUDIT_TIMEOUT: Duration = Duration::from_secs(120);
const AUDITS_AT_ONCE: usize = 8;

/// Items, and what the answers said about them.
#[derive(Debug)]
pub struct Stock {
    /// Their ids.
    pub item_ids: Vec<Uuid>,
    /// Units of each.
    pub total_quantity: i64,
    reserved: AtomicU64,
    confirmed: AtomicU64,
    cancelled: AtomicU64,
}

/// A change that an answer told of, one unit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are their own names")]
pub enum Change {
    Reserved,
    Confirmed,
    Cancelled,
}

/// Statements of the ledger by the number of reservations they made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Batches {
    /// Reservations in a statement, on average.
    pub mean: f64,
    /// The most.
    pub largest: i64,
    /// `(size, statements)`, by size.
    pub sizes: Vec<(i64, i64)>,
}

#[derive(Deserialize)]
struct Audit {
    consistent: bool,
    counters: AuditedCounters,
}

#[derive(Deserialize)]
struct AuditedCounters {
    held_quantity: i64,
    confirmed_quantity: i64,
}

impl Stock {
    /// Creates the items, straight in the database: a thousand calls would only warm the service up for some.
    pub async fn create(database_url: &str, item_count: u32, total_quantity: i64) -> Result<Arc<Self>, String> {
        let make = async {
            let mut connection = PgConnection::connect(database_url).await?;
            let rows = sqlx::query(include_str!("sql/new_items.sql"))
                .bind(i64::from(item_count))
                .bind(total_quantity)
                .fetch_all(&mut connection)
                .await?;
            connection.close().await?;
            rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Uuid>, _>>()
        };
        let item_ids = make.await.map_err(|error: sqlx::Error| format!("the items cannot be created: {error}"))?;
        Ok(Arc::new(Stock {
            item_ids,
            total_quantity,
            reserved: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        }))
    }

    /// Counts one answer.
    pub fn count(&self, change: Change) {
        self.count_many(change, 1);
    }

    /// Counts many answers of one kind.
    pub fn count_many(&self, change: Change, answers: u64) {
        let counter = match change {
            Change::Reserved => &self.reserved,
            Change::Confirmed => &self.confirmed,
            Change::Cancelled => &self.cancelled,
        };
        counter.fetch_add(answers, Ordering::Relaxed);
    }

    /// What must be held, and what sold, if every answer was true.
    pub fn expected(&self) -> (i64, i64) {
        let read = |counter: &AtomicU64| i64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let (reserved, confirmed, cancelled) = (read(&self.reserved), read(&self.confirmed), read(&self.cancelled));
        (reserved - confirmed - cancelled, confirmed)
    }

    /// Audits every item through the service and compares the sums with the answers.
    pub async fn settle(&self, origin: &Origin) -> Result<(), String> {
        let audits = self.item_ids.iter().map(|item_id| audit(origin, *item_id));
        let audits: Vec<(i64, i64)> = stream::iter(audits).buffer_unordered(AUDITS_AT_ONCE).try_collect().await?;
        let found = audits.iter().fold((0, 0), |sum, audit| (sum.0 + audit.0, sum.1 + audit.1));
        let expected = self.expected();
        if found != expected {
            let ((held, confirmed), (held_by_answers, confirmed_by_answers)) = (found, expected);
            return Err(format!(
                "{held} units are held and {confirmed} confirmed; the answers said {held_by_answers} and \
                 {confirmed_by_answers}"
            ));
        }
        if let Some((held, confirmed)) = audits.iter().find(|(held, confirmed)| held + confirmed > self.total_quantity)
        {
            return Err(format!("{held} held and {confirmed} confirmed exceed a total of {}", self.total_quantity));
        }
        Ok(())
    }

    /// How many reservations each statement made, of all that were made so far.
    pub async fn batches(&self, database_url: &str) -> Result<Option<Batches>, String> {
        let read = async {
            let mut connection = PgConnection::connect(database_url).await?;
            let rows =
                sqlx::query(include_str!("sql/batches.sql")).bind(&self.item_ids).fetch_all(&mut connection).await?;
            connection.close().await?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<Vec<(i64, i64)>, _>>()
        };
        let sizes = read.await.map_err(|error: sqlx::Error| format!("the batch sizes cannot be read: {error}"))?;
        Ok(Batches::of(sizes))
    }
}

impl Batches {
    fn of(sizes: Vec<(i64, i64)>) -> Option<Self> {
        let statements: i64 = sizes.iter().map(|(_, count)| count).sum();
        let reservations: i64 = sizes.iter().map(|(size, count)| size * count).sum();
        let (largest, _) = sizes.last()?;
        Some(Batches { mean: reservations as f64 / statements as f64, largest: *largest, sizes })
    }
}

/// What an item's audit says is held and confirmed, if its books are consistent.
async fn audit(origin: &Origin, item_id: Uuid) -> Result<(i64, i64), String> {
    let ask = async {
        let mut connection = HttpConnection::open(origin).await?;
        connection.exchange(&origin.request("GET", &format!("/v1/items/{item_id}/audit"), &[], None)).await
    };
    let response = timeout(AUDIT_TIMEOUT, ask)
        .await
        .map_err(|_| format!("the audit of {item_id} was not answered"))?
        .map_err(|error| format!("the audit of {item_id} failed: {error}"))?;
    let text = String::from_utf8_lossy(&response.body);
    let audit: Audit =
        serde_json::from_slice(&response.body).map_err(|_| format!("the audit of {item_id} answered {text}"))?;
    if audit.consistent {
        Ok((audit.counters.held_quantity, audit.counters.confirmed_quantity))
    } else {
        Err(format!("the books of {item_id} are not consistent: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_weighed_by_statement() {
        let batches = Batches::of(vec![(1, 3), (5, 1)]);
        assert_eq!(batches, Some(Batches { mean: 2.0, largest: 5, sizes: vec![(1, 3), (5, 1)] }));
        assert_eq!(Batches::of(Vec::new()), None);
    }
}
