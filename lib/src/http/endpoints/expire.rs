//! `POST /v1/maintenance/expire-reservations`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::request::{OptionalBody, from_fields};
use crate::http::service::Service;
use crate::ops::expire::{Expire, ExpireOptions};

/// Record lapsed holds as EXPIRED. The platform's cron calls GET.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "expire",
    methods: &["POST", "GET"],
    path: "/v1/maintenance/expire-reservations",
    access: AccessRule::Maintenance,
    function: Function::Own,
    summary: "Record lapsed holds as EXPIRED and give their units back; safe to repeat",
    handlers: || post(expire).get(expire),
    describe: Some(|call| {
        let example = Expire { expired_count: 3, released_quantity: 5, has_more: false };
        call.body::<ExpireOptions>(false, json!({ "limit": 1000 })).answers::<Expire>(StatusCode::OK, example)
    }),
};

from_fields! { ExpireOptions { limit: optional } }

async fn expire(State(service): State<Service>, OptionalBody(options): OptionalBody<ExpireOptions>) -> Answer {
    ok(&service.inventory.expire(options).await?)
}
