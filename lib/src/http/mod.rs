//! The HTTP API: `endpoints` says where and what, `problem` how it is refused; this file is what every call shares.

mod access;
mod answer;
mod description;
mod endpoint;
pub mod endpoints;
mod example;
mod openapi;
pub mod problem;
mod request;
mod service;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

pub use access::{Access, AccessRule};
pub use endpoint::{Endpoint, Function};
pub use openapi::document as openapi_document;
pub use service::Service;

use crate::db::with_database_time;
use crate::inventory::Inventory;
use endpoints::allowed_methods;
use problem::{Code, Problem};

impl Service {
    /// An inventory and who may use it.
    pub fn new(inventory: Inventory, access: Access) -> Self {
        Self::with_document(inventory, access, openapi_document)
    }
}

/// Answers the given endpoints, and everything else with 404 or 405.
pub fn router(service: Service, endpoints: impl IntoIterator<Item = &'static Endpoint>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints {
        let guard = (service.access.clone(), endpoint);
        let methods = (endpoint.handlers)().route_layer(middleware::from_fn_with_state(guard, authorize));
        router = router.route(endpoint.path, methods);
    }
    let access = service.access.clone();
    let unknown = async move |request: Request| unknown(&request, &access);
    router
        .fallback(unknown.clone())
        .method_not_allowed_fallback(unknown)
        .with_state(service)
        .layer(middleware::from_fn(answer))
}

async fn authorize(
    State((access, endpoint)): State<(Arc<Access>, &'static Endpoint)>,
    request: Request,
    next: Next,
) -> Response {
    if !endpoint.answers(request.method().as_str(), &access) {
        return unknown(&request, &access).into_response();
    }
    match access.check(endpoint.access, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn unknown(request: &Request, access: &Access) -> Problem {
    match allowed_methods(request.uri().path(), access).as_slice() {
        [] => Problem::new(Code::RouteNotFound, "See /docs for the paths there are."),
        allowed => Problem::method_not_allowed(allowed),
    }
}

/// The outermost layer: gives each call its id, writes each problem, logs each answer once.
async fn answer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();

    // A task of its own ends its work and gives its connection back although the caller hangs up.
    let call = tokio::spawn(with_database_time(next.run(request)));
    let (mut response, database_time) = call.await.unwrap_or_else(|error| {
        let panic = error.try_into_panic().unwrap_or_else(|error| Box::new(error.to_string()));
        let cause = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let cause = cause.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        (Problem::internal(format!("panicked: {cause}")).into_response(), Duration::ZERO)
    });

    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        *response.body_mut() = Body::from(serde_json::to_vec(&problem.body(&request_id)).unwrap_or_default());
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    let elapsed = started.elapsed();
    set_header(&mut response, "x-request-id", &request_id);
    let timing = format!("db;dur={:.3}, total;dur={:.3}", milliseconds(database_time), milliseconds(elapsed));
    set_header(&mut response, "server-timing", &timing);
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));

    let status = response.status().as_u16();
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let (code, cause) = match &problem {
        Some(problem) => (problem.code.word(), problem.cause.as_deref()),
        None => ("-", None),
    };
    let (elapsed_ms, database_ms) = (milliseconds(elapsed), milliseconds(database_time));
    if response.status().is_server_error() {
        tracing::error!(request_id, %method, route, status, code, cause, elapsed_ms, database_ms, "failed");
    } else {
        tracing::debug!(request_id, %method, route, status, code, elapsed_ms, database_ms, "answered");
    }
    response
}

/// The caller's id, if it is one that can stand in a log; else a new one.
fn request_id(request: &Request) -> String {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
    };
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok()).filter(sane);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn set_header(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
