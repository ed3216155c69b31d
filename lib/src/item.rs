//! An item: its units, its counters, and the words that name it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::text::{integer, text};

text! {
    /// What an item is called: 1 to 200 characters, not blank, no U+0000.
    ItemName
}

text! {
    /// The shop's own number for an item: 1 to 200 characters, not blank, no U+0000. Need not be unique.
    Sku
}

integer! {
    /// Units an item starts with: 1 to 1,000,000,000.
    TotalQuantity, 1, 1_000_000_000, "Units."
}

/// Whatever the shop wants to keep with an item: a JSON object, without U+0000 anywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub struct Metadata(serde_json::Map<String, serde_json::Value>);

impl Metadata {
    /// The object.
    pub fn as_map(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.0
    }
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for Metadata {
    type Error = &'static str;

    fn try_from(map: serde_json::Map<String, serde_json::Value>) -> Result<Self, Self::Error> {
        // PostgreSQL's jsonb cannot hold U+0000 (chapter 8.14).
        fn holds_null_character(value: &serde_json::Value) -> bool {
            match value {
                serde_json::Value::String(text) => text.contains('\0'),
                serde_json::Value::Array(values) => values.iter().any(holds_null_character),
                serde_json::Value::Object(map) => {
                    map.iter().any(|(key, value)| key.contains('\0') || holds_null_character(value))
                }
                serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
            }
        }
        let value = serde_json::Value::Object(map);
        if holds_null_character(&value) {
            return Err("must not contain U+0000");
        }
        match value {
            serde_json::Value::Object(map) => Ok(Self(map)),
            _ => Err("must be an object"),
        }
    }
}

/// An item as one snapshot showed it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct Item {
    /// UUID version 7.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// The shop's own number for it.
    pub sku: Option<String>,
    /// Units there are, sold or not.
    pub total_quantity: i64,
    /// Units that can be held now: total - held - confirmed.
    pub available_quantity: i64,
    /// Units in PENDING reservations that have not reached their deadline.
    pub held_quantity: i64,
    /// Units sold for good.
    pub confirmed_quantity: i64,
    /// The number of the last entry of the item's ledger.
    pub version: i64,
    /// Whatever the shop keeps with it.
    pub metadata: Metadata,
    /// When it was created, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When its last ledger entry was recorded.
    pub updated_at: DateTime<Utc>,
}

/// An item and the instant its quantities are true for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct ItemStatus {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// The database's clock, read once, after the snapshot.
    pub as_of: DateTime<Utc>,
}
