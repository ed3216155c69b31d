//! Lay one item's counters, the sums of its reservations and the fold of its ledger side by side.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::bucket::bucket;
use crate::db::Database;
use crate::error::Error;
use crate::ledger::{Audit, AuditedCounters, AuditedReservations};
use crate::statement::{Statement, Value, statement};

const AUDIT: Statement = statement!("audit");

#[derive(sqlx::FromRow)]
struct Row {
    item_id: Uuid,
    total_quantity: i64,
    held_quantity: i64,
    confirmed_quantity: i64,
    version: i64,
    reservations_held_quantity: i64,
    reservations_lapsed_quantity: i64,
    reservations_confirmed_quantity: i64,
    ledger_total_quantity: i64,
    ledger_held_quantity: i64,
    ledger_confirmed_quantity: i64,
    ledger_version: i64,
    first_wrong_version: Option<i64>,
    as_of: DateTime<Utc>,
}

/// The books, or none when there is no such item.
pub(crate) async fn audit(database: &Database, item_id: Uuid) -> Result<Option<Audit>, Error> {
    let answer = database.fetch(&AUDIT, &[Value::Uuid(item_id), Value::Bucket(bucket(item_id))]).await?;
    let row: Option<Row> = AUDIT.decode_first(&answer)?;
    Ok(row.map(Row::audit))
}

impl Row {
    fn audit(self) -> Audit {
        let counters = AuditedCounters {
            total_quantity: self.total_quantity,
            held_quantity: self.held_quantity,
            confirmed_quantity: self.confirmed_quantity,
            version: self.version,
        };
        let reservations = AuditedReservations {
            held_quantity: self.reservations_held_quantity,
            lapsed_quantity: self.reservations_lapsed_quantity,
            confirmed_quantity: self.reservations_confirmed_quantity,
        };
        let ledger = AuditedCounters {
            total_quantity: self.ledger_total_quantity,
            held_quantity: self.ledger_held_quantity,
            confirmed_quantity: self.ledger_confirmed_quantity,
            version: self.ledger_version,
        };
        let findings = findings(&counters, &reservations, &ledger, self.first_wrong_version);
        Audit {
            item_id: self.item_id,
            consistent: findings.is_empty(),
            findings,
            counters,
            reservations,
            ledger,
            as_of: self.as_of,
        }
    }
}

fn findings(
    counters: &AuditedCounters,
    reservations: &AuditedReservations,
    ledger: &AuditedCounters,
    first_wrong_version: Option<i64>,
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut compare = |what: &str, counter: i64, other: &str, found: i64| {
        if counter != found {
            findings.push(format!("the item's {what} is {counter}, its {other} say {found}"));
        }
    };
    compare("held_quantity", counters.held_quantity, "PENDING reservations", reservations.held_quantity);
    compare(
        "confirmed_quantity",
        counters.confirmed_quantity,
        "CONFIRMED reservations",
        reservations.confirmed_quantity,
    );
    compare("total_quantity", counters.total_quantity, "ledger entries", ledger.total_quantity);
    compare("held_quantity", counters.held_quantity, "ledger entries", ledger.held_quantity);
    compare("confirmed_quantity", counters.confirmed_quantity, "ledger entries", ledger.confirmed_quantity);
    compare("version", counters.version, "ledger entries", ledger.version);
    if counters.held_quantity + counters.confirmed_quantity > counters.total_quantity {
        findings.push("more units are held and confirmed than there are".to_owned());
    }
    if let Some(version) = first_wrong_version {
        findings.push(format!("ledger version {version} does not follow from the versions before it"));
    }
    findings
}
