//! Read one item.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::bucket::bucket;
use crate::db::Database;
use crate::error::Error;
use crate::item::{Item, ItemStatus, Metadata};
use crate::statement::{Statement, Value, statement};

const GET_ITEM: Statement = statement!("get_item");

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    sku: Option<String>,
    metadata: Json<Metadata>,
    total_quantity: i64,
    held_quantity: i64,
    confirmed_quantity: i64,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    as_of: DateTime<Utc>,
}

/// The item, or none when there is no such item.
pub(crate) async fn get_item(database: &Database, item_id: Uuid) -> Result<Option<ItemStatus>, Error> {
    let answer = database.fetch(&GET_ITEM, &[Value::Uuid(item_id), Value::Bucket(bucket(item_id))]).await?;
    let row: Option<Row> = GET_ITEM.decode_first(&answer)?;
    Ok(row.map(|row| ItemStatus {
        item: Item {
            id: row.id,
            name: row.name,
            sku: row.sku,
            total_quantity: row.total_quantity,
            available_quantity: row.total_quantity - row.held_quantity - row.confirmed_quantity,
            held_quantity: row.held_quantity,
            confirmed_quantity: row.confirmed_quantity,
            version: row.version,
            metadata: row.metadata.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        },
        as_of: row.as_of,
    }))
}
