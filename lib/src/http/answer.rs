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

/// 200 to a call that takes a key. `replayed`: done by an earlier call under it.
pub(super) fn done(body: &impl Serialize, replayed: bool) -> Answer {
    let mut response = json(StatusCode::OK, body)?;
    mark_replayed(&mut response, replayed);
    Ok(response)
}

/// 201 with its path. `replayed`: made by an earlier call under the same key.
pub(super) fn created(location: &str, body: &impl Serialize, replayed: bool) -> Answer {
    let mut response = json(StatusCode::CREATED, body)?;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    mark_replayed(&mut response, replayed);
    Ok(response)
}

fn mark_replayed(response: &mut Response, replayed: bool) {
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(|error| Problem::internal(error.to_string()))?;
    Ok((status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response())
}
