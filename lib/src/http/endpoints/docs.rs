//! `GET /docs`

use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::description::schema;
use crate::http::endpoint::{Endpoint, Function};

/// Swagger UI.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "docs",
    methods: &["GET"],
    path: "/docs",
    access: AccessRule::Open,
    function: Function::Static,
    summary: "Swagger UI of the document",
    handlers: || get(async || Html(PAGE)),
    describe: Some(|call| {
        let text = schema(json!({ "type": "string" }));
        call.answers_media(StatusCode::OK, "text/html", text, json!("<!doctype html>"))
    }),
};

/// The page; its files are [`docs_file`](super::docs_file)'s.
pub const PAGE: &str = r##"<!doctype html>
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
