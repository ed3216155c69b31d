//! `GET /v1/items/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::Id;
use crate::http::service::Service;
use crate::item::ItemStatus;

/// Read one item.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "get_item",
    methods: &["GET"],
    path: "/v1/items/{id}",
    access: AccessRule::ApiKey,
    function: Function::Own,
    summary: "Read one item: total, available, held, confirmed",
    handlers: || get(get_item),
    describe: Some(|call| {
        call.id("The item's id.", example::ITEM_ID)
            .answers::<ItemStatus>(StatusCode::OK, ItemStatus { item: example::item(), as_of: example::instant(1) })
            .refuses([Code::ItemNotFound])
    }),
};

async fn get_item(State(service): State<Service>, Id(item_id): Id) -> Answer {
    ok(&service.inventory.get_item(item_id).await?.ok_or_else(Problem::item_not_found)?)
}
