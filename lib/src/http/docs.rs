//! Swagger UI, its assets out of this binary.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::Service;
use super::problem::{Code, Problem};

const PAGE: &str = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stockhold API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    tryItOutEnabled: true,
    validatorUrl: null
});
</script>
</body>
</html>
"##;

pub(super) async fn page() -> Response {
    Html(PAGE).into_response()
}

pub(super) fn assets() -> MethodRouter<Service> {
    get(asset)
}

async fn asset(file: Option<Path<String>>) -> Result<Response, Problem> {
    let missing = || Problem::new(Code::RouteNotFound, "Swagger UI has no such file.");
    let Path(name) = file.ok_or_else(missing)?;
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let file = utoipa_swagger_ui::serve(&name, config)
        .map_err(|error| Problem::internal(error.to_string()))?
        .filter(|_| name != "index.html" && name != "swagger-initializer.js")
        .ok_or_else(missing)?;
    let mut response = file.bytes.into_owned().into_response();
    let content_type =
        HeaderValue::from_str(&file.content_type).map_err(|error| Problem::internal(error.to_string()))?;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    Ok(response)
}
