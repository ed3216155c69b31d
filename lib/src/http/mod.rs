//! The HTTP API: `routes` says where, `endpoints` what, `problem` how it is refused; this file is what every call shares.

mod access;
mod docs;
pub mod endpoints;
mod openapi;
pub mod problem;
mod request;
pub mod routes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

pub use access::Access;
pub use openapi::document as openapi_document;

use crate::db::with_database_time;
use crate::inventory::Inventory;
use endpoints::Endpoint;
use problem::{Code, Problem};
use routes::Route;

/// What every endpoint works with.
#[derive(Clone)]
pub struct Service {
    inventory: Inventory,
    access: Arc<Access>,
}

impl Service {
    /// An inventory and who may use it.
    pub fn new(inventory: Inventory, access: Access) -> Self {
        if access.is_open() {
            tracing::warn!("API_KEYS is not set: anybody who can reach this service may use it");
        }
        Self { inventory, access: Arc::new(access) }
    }
}

/// Answers the given endpoints, and everything else with 404 or 405.
pub fn router<'e>(service: Service, endpoints: impl IntoIterator<Item = &'e Endpoint>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints {
        let guard = Guard { service: service.clone(), route: endpoint.route };
        let methods = (endpoint.handlers)().route_layer(middleware::from_fn_with_state(guard, authorize));
        router = router.route(endpoint.route.path, methods);
        if endpoint.route == &routes::DOCS {
            router = router.route("/docs/{file}", docs::assets());
        }
    }
    router.fallback(unknown).method_not_allowed_fallback(unknown).with_state(service).layer(middleware::from_fn(answer))
}

#[derive(Clone)]
struct Guard {
    service: Service,
    route: &'static Route,
}

async fn authorize(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    // Without a secret of its own, maintenance is no business of a link that somebody follows.
    if guard.route == &routes::EXPIRE && request.method() != Method::POST && !guard.service.access.has_cron_secret() {
        return method_not_allowed("POST").into_response();
    }
    // A safe method changes nothing (RFC 9110, 9.2.1), and the cron's GET does.
    if guard.route == &routes::EXPIRE && request.method() == Method::HEAD {
        return method_not_allowed("POST, GET").into_response();
    }
    match guard.service.access.check(guard.route.access, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn unknown(request: Request) -> Problem {
    let allowed = routes::allowed_methods(request.uri().path());
    if allowed.is_empty() {
        return Problem::new(Code::RouteNotFound, "See /docs for the paths there are.");
    }
    method_not_allowed(&allowed.join(", "))
}

fn method_not_allowed(allow: &str) -> Problem {
    let mut problem = Problem::new(Code::MethodNotAllowed, format!("It answers {allow}."));
    problem.allow = Some(allow.to_owned());
    problem
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

/// A JSON answer.
fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
        }
        Err(error) => Problem::internal(error.to_string()).into_response(),
    }
}
