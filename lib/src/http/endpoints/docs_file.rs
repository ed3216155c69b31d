//! `GET /docs/{file}`

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::http::access::AccessRule;
use crate::http::answer::Answer;
use crate::http::endpoint::{Endpoint, Function};
use crate::http::problem::{Code, Problem};

/// Swagger UI's own files, out of this binary.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "docs_file",
    methods: &["GET"],
    path: "/docs/{file}",
    access: AccessRule::Open,
    function: Function::Static,
    summary: "The files of Swagger UI",
    handlers: || get(docs_file),
    describe: None,
};

async fn docs_file(file: Option<Path<String>>) -> Answer {
    let missing = || Problem::new(Code::RouteNotFound, "Swagger UI has no such file.");
    let Path(name) = file.ok_or_else(missing)?;
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let file = utoipa_swagger_ui::serve(&name, config)
        .map_err(|error| Problem::internal(error.to_string()))?
        .filter(|_| name != "index.html" && name != "swagger-initializer.js")
        .ok_or_else(missing)?;
    let mut response: Response = file.bytes.into_owned().into_response();
    let content_type =
        HeaderValue::from_str(&file.content_type).map_err(|error| Problem::internal(error.to_string()))?;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    Ok(response)
}
