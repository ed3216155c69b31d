//! The ledger: every change of an item's counters, in order, without a gap; and the audit that folds it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What changed an item's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Kind {
    /// The item was made: total + quantity. Always version 1, and only it.
    Created,
    /// A hold was made: held + quantity.
    Reserved,
    /// A hold was confirmed: held - quantity, confirmed + quantity.
    Confirmed,
    /// A hold was cancelled: held - quantity.
    Cancelled,
    /// A hold's deadline was recorded: held - quantity.
    Expired,
    /// An expired hold was confirmed after all: confirmed + quantity.
    Reacquired,
    /// Sold units came back to the shelf: confirmed - quantity.
    Returned,
}

/// One change, and the counters after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LedgerEntry {
    /// The item.
    pub item_id: Uuid,
    /// 1, 2, 3 … without a gap.
    pub version: i64,
    /// The reservation that changed; null for CREATED.
    pub reservation_id: Option<Uuid>,
    /// What happened.
    pub kind: Kind,
    /// Units it moved.
    pub quantity: i64,
    /// Units there are, after it.
    pub total_quantity: i64,
    /// Units in PENDING reservations, lapsed or not, after it.
    pub held_quantity: i64,
    /// Units sold, after it.
    pub confirmed_quantity: i64,
    /// When it was recorded, by the database's clock.
    #[serde(serialize_with = "crate::instant::write")]
    pub recorded_at: DateTime<Utc>,
}

/// A page of a ledger.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LedgerPage {
    /// In version order.
    pub entries: Vec<LedgerEntry>,
    /// The version after which the next page begins; none on the last page.
    pub next_after_version: Option<i64>,
}

/// One item's books side by side, from one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Audit {
    /// The item.
    pub item_id: Uuid,
    /// Whether all three agree, every ledger version follows from the one before, and none promised more than there is.
    pub consistent: bool,
    /// What is wrong, a sentence each; empty when consistent.
    pub findings: Vec<String>,
    /// The item's own counters.
    pub counters: AuditedCounters,
    /// The sums of its reservations.
    pub reservations: AuditedReservations,
    /// The fold of its ledger.
    pub ledger: AuditedCounters,
    /// The database's clock, read once, after the snapshot.
    #[serde(serialize_with = "crate::instant::write")]
    pub as_of: DateTime<Utc>,
}

/// Counters, or a fold that must equal them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AuditedCounters {
    /// Units there are.
    pub total_quantity: i64,
    /// Units in PENDING reservations, lapsed or not.
    pub held_quantity: i64,
    /// Units sold.
    pub confirmed_quantity: i64,
    /// The last version.
    pub version: i64,
}

/// Sums over an item's reservations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AuditedReservations {
    /// Units of PENDING reservations, lapsed or not.
    pub held_quantity: i64,
    /// Of these, units of holds past their deadline whose expiry is not recorded yet.
    pub lapsed_quantity: i64,
    /// Units of CONFIRMED reservations.
    pub confirmed_quantity: i64,
}
