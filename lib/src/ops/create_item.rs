//! Create an item with its units.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::get_item::get_item;
use crate::bucket::bucket;
use crate::db::Database;
use crate::error::Error;
use crate::item::{Item, ItemName, Metadata, Sku, TotalQuantity};
use crate::reservation::{IdempotencyKey, fingerprint};
use crate::statement::{Statement, Value, statement};

const CREATE_ITEM: Statement = statement!("create_item");

/// The item to create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewItem {
    /// What it is called.
    pub name: ItemName,
    /// Units it starts with.
    pub initial_quantity: TotalQuantity,
    /// The shop's own number for it.
    #[serde(default)]
    pub sku: Option<Sku>,
    /// Whatever the shop wants to keep with it.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

impl NewItem {
    /// An item with its units, and nothing else.
    pub fn new(name: ItemName, initial_quantity: TotalQuantity) -> Self {
        Self { name, initial_quantity, sku: None, metadata: None }
    }

    /// The same, under the shop's own number.
    pub fn with_sku(self, sku: Sku) -> Self {
        Self { sku: Some(sku), ..self }
    }

    /// The same, with the shop's own data.
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata: Some(metadata), ..self }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CreateItem {
    /// Created, by this call.
    Created(Item),
    /// Created by an earlier call under the same key; the item as it is now.
    Replayed(Item),
    /// The key was used for another item.
    IdempotencyKeyReused,
}

/// The statement's word for what became of the call.
#[derive(Clone, Copy, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum Outcome {
    Created,
    Replayed,
    KeyReused,
}

#[derive(sqlx::FromRow)]
struct Row {
    outcome: Outcome,
    id: Uuid,
    name: String,
    sku: Option<String>,
    metadata: Json<Metadata>,
    total_quantity: i64,
    created_at: DateTime<Utc>,
}

pub(crate) async fn create_item(
    database: &Database,
    new_item: NewItem,
    idempotency_key: Option<IdempotencyKey>,
) -> Result<CreateItem, Error> {
    let fingerprint = idempotency_key.is_some().then(|| fingerprint(&new_item));
    let item_id = Uuid::now_v7();
    let values = [
        Value::Uuid(item_id),
        Value::Text(Some(new_item.name.as_str().to_owned())),
        Value::Text(new_item.sku.map(|sku| sku.as_str().to_owned())),
        Value::Text(Some(new_item.metadata.unwrap_or_default().as_json().to_owned())),
        Value::Bigint(new_item.initial_quantity.get()),
        Value::Text(idempotency_key.map(|key| key.as_str().to_owned())),
        Value::Bytes(fingerprint),
        Value::Bucket(bucket(item_id)),
    ];
    let answer = database.fetch(&CREATE_ITEM, &values).await?;
    let row: Row = CREATE_ITEM.decode_first(&answer)?.ok_or_else(|| CREATE_ITEM.unexpected("no row"))?;
    let item = Item {
        id: row.id,
        name: row.name,
        sku: row.sku,
        total_quantity: row.total_quantity,
        available_quantity: row.total_quantity,
        held_quantity: 0,
        confirmed_quantity: 0,
        version: 1,
        metadata: row.metadata.0,
        created_at: row.created_at,
        updated_at: row.created_at,
    };
    Ok(match row.outcome {
        Outcome::Created => CreateItem::Created(item),
        Outcome::Replayed => {
            let now = get_item(database, item.id).await?;
            CreateItem::Replayed(now.map_or(item, |now| now.item))
        }
        Outcome::KeyReused => CreateItem::IdempotencyKeyReused,
    })
}
