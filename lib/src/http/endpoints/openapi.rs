//! `GET /openapi.json`

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::description::schema;
use crate::http::endpoint::{Endpoint, Function};
use crate::http::service::Service;

/// The OpenAPI document.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "openapi",
    methods: &["GET"],
    path: "/openapi.json",
    access: AccessRule::Open,
    function: Function::Static,
    summary: "This document",
    handlers: || get(openapi),
    describe: Some(|call| {
        let object = schema(json!({ "type": "object" }));
        call.answers_media(StatusCode::OK, "application/json", object, json!({ "openapi": "3.0.0" }))
    }),
};

async fn openapi(State(service): State<Service>) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], service.document().to_vec()).into_response()
}
