//! Answers that are no problem: JSON, and what was made.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;

/// What a handler returns; a problem is written by the outermost layer.
pub(super) type Answer = Result<Response, Problem>;

/// 200 with a JSON body.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    json(StatusCode::OK, body)
}

/// 201 with its path. `replayed`: made by an earlier call under the same key.
pub(super) fn created(location: &str, body: &impl Serialize, replayed: bool) -> Answer {
    let mut response = json(StatusCode::CREATED, body)?;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(|error| Problem::internal(error.to_string()))?;
    Ok((status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response())
}
