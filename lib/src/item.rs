//! An item: its units, its counters, and the words that name it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::json::canonical;
use crate::text::{Invalid, integer, text};

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

/// Arrays and objects in each other, at most.
const METADATA_DEPTH_MAX: usize = 32;

/// The longest metadata, in bytes of its shortest form.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// The shop's own data about an item: a JSON object of 16 KiB at most, no member twice, nested 32 deep at most. Every number
/// keeps its digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Box<RawValue>")]
pub struct Metadata(Box<RawValue>);

#[cfg(feature = "http")]
impl schemars::JsonSchema for Metadata {
    fn schema_name() -> String {
        "Metadata".to_owned()
    }

    fn is_referenceable() -> bool {
        false
    }

    fn json_schema(generator: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
        serde_json::Map::<String, serde_json::Value>::json_schema(generator)
    }
}

impl Metadata {
    /// The object as JSON.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

impl Default for Metadata {
    fn default() -> Self {
        // An empty map always has a JSON form.
        Self::try_from(serde_json::Map::new()).unwrap_or_else(|_| Self(RawValue::NULL.to_owned()))
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl TryFrom<Box<RawValue>> for Metadata {
    type Error = Invalid;

    fn try_from(json: Box<RawValue>) -> Result<Self, Invalid> {
        if !json.get().trim_start().starts_with('{') {
            return Err(Invalid("must be an object".to_owned()));
        }
        let text = canonical(json.get(), METADATA_DEPTH_MAX).map_err(Invalid)?;
        if text.len() > METADATA_BYTES_MAX {
            return Err(Invalid(format!("must have {METADATA_BYTES_MAX} bytes at most, has {}", text.len())));
        }
        RawValue::from_string(text).map(Self).map_err(|error| Invalid(error.to_string()))
    }
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for Metadata {
    type Error = Invalid;

    fn try_from(map: serde_json::Map<String, serde_json::Value>) -> Result<Self, Invalid> {
        serde_json::value::to_raw_value(&map).map_err(|error| Invalid(error.to_string()))?.try_into()
    }
}

/// An item as one snapshot showed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[non_exhaustive]
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
    #[serde(serialize_with = "crate::instant::write")]
    pub created_at: DateTime<Utc>,
    /// When its last ledger entry was recorded.
    #[serde(serialize_with = "crate::instant::write")]
    pub updated_at: DateTime<Utc>,
}

/// An item and the instant its quantities are true for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ItemStatus {
    /// The item.
    #[serde(flatten)]
    pub item: Item,
    /// The database's clock, read once, after the snapshot.
    #[serde(serialize_with = "crate::instant::write")]
    pub as_of: DateTime<Utc>,
}
