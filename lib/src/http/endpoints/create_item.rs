//! `POST /v1/items`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, created};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::Problem;
use crate::http::request::{Body, Key, from_fields};
use crate::http::service::Service;
use crate::item::Item;
use crate::ops::create_item::{CreateItem, NewItem};

/// Create an item.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "create_item",
    methods: &["POST"],
    path: "/v1/items",
    access: AccessRule::ApiKey,
    function: Function::Own,
    summary: "Create an item with its units",
    handlers: || post(create_item),
    describe: Some(|call| {
        call.idempotency_key()
            .body::<NewItem>(true, json!({ "name": "Front row", "initial_quantity": 50, "sku": "FR-1" }))
            .answers::<Item>(StatusCode::CREATED, example::item())
    }),
};

from_fields! { NewItem { name: required, initial_quantity: required, sku: optional, metadata: optional } }

async fn create_item(State(service): State<Service>, Key(key): Key, Body(new_item): Body<NewItem>) -> Answer {
    match service.inventory.create_item(new_item, key).await? {
        CreateItem::Created(item) => created(&format!("/v1/items/{}", item.id), &item, false),
        CreateItem::Replayed(item) => created(&format!("/v1/items/{}", item.id), &item, true),
        CreateItem::IdempotencyKeyReused => Err(Problem::idempotency_key_reused()),
    }
}
