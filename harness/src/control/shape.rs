//! The control in other services' clothes: the same behaviour under other names, so that the probe can be tried.

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// How a service words its requests and answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// `itemId` instead of `item_id`, in requests and answers; the other spelling is refused.
    pub camel: bool,
    /// Everything inside `data`, numbers as strings.
    pub envelope: bool,
    /// Refusals are sentences, and 200 is answered for created.
    pub sentences: bool,
    /// Refusals of a reservation are 422, of a late confirm 410.
    pub other_codes: bool,
    /// A repeated confirm or cancel is refused.
    pub repeats_refused: bool,
    /// A lapsed hold counts until the sweep.
    pub lapses_by_sweep: bool,
    /// Deadlines in whole seconds only.
    pub whole_seconds: bool,
    /// Callers cannot set a deadline, and `ttl_seconds` is ignored.
    pub no_ttl: bool,
    /// Only `available` is shown, and reservations cannot be read.
    pub terse: bool,
    /// Of reservations that meet, all but one lose, and are told so with this status code: 409 with a sentence, 500
    /// without one. 0: they wait for each other.
    pub meet: u16,
    /// No item has more than 100,000 units, no reservation more than 50, and refusals are one plain text, answered 400.
    pub small: bool,
    /// Deadlines are sent in minutes, customers as numbers.
    pub minutes: bool,
    /// What is sold stays counted as held, and is not shown.
    pub held_counts_sold: bool,
    /// It sweeps by itself, ten times a second, besides when it is told to.
    pub sweeps_itself: bool,
    /// A confirm that says `{"if_expired": "reacquire"}` takes the units of a lapsed hold anew, where they are free.
    pub reacquires: bool,
}

impl Shape {
    /// The shapes of services that were met elsewhere.
    pub fn usual() -> Vec<(&'static str, Shape)> {
        vec![
            ("express", Shape { camel: true, sentences: true, repeats_refused: true, ..Shape::default() }),
            (
                "nest",
                Shape { envelope: true, sentences: true, whole_seconds: true, other_codes: true, ..Shape::default() },
            ),
            ("spring", Shape { camel: true, sentences: true, other_codes: true, no_ttl: true, ..Shape::default() }),
            ("terse", Shape { terse: true, no_ttl: true, ..Shape::default() }),
            ("cron", Shape { lapses_by_sweep: true, sentences: true, ..Shape::default() }),
            ("optimistic", Shape { meet: 409, sentences: true, held_counts_sold: true, ..Shape::default() }),
            ("serializable", Shape { meet: 500, terse: true, ..Shape::default() }),
            ("guarded", Shape { small: true, lapses_by_sweep: true, repeats_refused: true, ..Shape::default() }),
            (
                "fastapi",
                Shape {
                    minutes: true,
                    sentences: true,
                    lapses_by_sweep: true,
                    sweeps_itself: true,
                    ..Shape::default()
                },
            ),
        ]
    }
}

/// Undresses the request, and dresses the answer.
pub(super) async fn dress(State(shape): State<Shape>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let is_read = parts.method == "GET" && parts.uri.path().starts_with("/v1/reservations");
    if shape.terse && is_read {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(bytes) = to_bytes(body, 1 << 20).await else { return StatusCode::BAD_REQUEST.into_response() };
    let bytes = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => match undressed(shape, fields) {
            Some(fields) => Value::Object(fields).to_string().into_bytes(),
            None => {
                return (StatusCode::BAD_REQUEST, axum::Json(json!({ "message": "validation failed" })))
                    .into_response();
            }
        },
        _ => bytes.to_vec(),
    };
    let mut undressed = Request::from_parts(parts, Body::from(bytes));
    undressed.headers_mut().remove(header::CONTENT_LENGTH);
    let answer = next.run(undressed).await;
    let status = answer.status();
    let Ok(bytes) = to_bytes(answer.into_body(), 1 << 20).await else { return status.into_response() };
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    dressed(shape, status, body)
}

fn undressed(shape: Shape, fields: Map<String, Value>) -> Option<Map<String, Value>> {
    let mut undressed = Map::new();
    for (name, value) in fields {
        if shape.camel && name.contains('_') || !shape.camel && name.chars().any(char::is_uppercase) {
            return None;
        }
        if name.starts_with("ttl") && shape.no_ttl {
            continue;
        }
        if name.starts_with("ttl") && shape.whole_seconds && !value.is_u64() {
            return None;
        }
        let most = if name == "quantity" { 50 } else { 100_000 };
        if shape.small && name.ends_with("quantity") && value.as_i64().is_none_or(|value| value > most) {
            return None;
        }
        if shape.minutes && name == "customer_id" && !value.is_u64() {
            return None;
        }
        if shape.minutes && name.starts_with("ttl") {
            if let Some(minutes) = value.as_f64().filter(|_| name == "ttl_minutes") {
                undressed.insert("ttl_seconds".to_owned(), json!(minutes * 60.0));
            }
            continue;
        }
        undressed.insert(snake(&name), value);
    }
    Some(undressed)
}

fn snake(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_uppercase() { format!("_{}", letter.to_lowercase()) } else { letter.to_string() })
        .collect()
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let start = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
        name + &start + letters.as_str()
    })
}

fn dressed(shape: Shape, status: StatusCode, body: Value) -> Response {
    if status.is_success() {
        let mut body = body;
        if shape.terse
            && let Some(fields) = body.as_object_mut()
        {
            ["held_quantity", "confirmed_quantity", "expires_at", "total_quantity"].iter().for_each(|name| {
                fields.remove(*name);
            });
        }
        if let (true, Some(sold)) = (shape.held_counts_sold, body["confirmed_quantity"].as_i64()) {
            body["held_quantity"] = json!(sold + body["held_quantity"].as_i64().unwrap_or_default());
            body.as_object_mut().map(|fields| fields.remove("confirmed_quantity"));
        }
        let body = renamed(shape, body);
        let status = if shape.sentences && !shape.other_codes { StatusCode::OK } else { status };
        let body = if shape.envelope { json!({ "success": true, "data": body }) } else { body };
        return (status, axum::Json(body)).into_response();
    }
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    let status = match code.as_str() {
        "insufficient_availability" if shape.other_codes => StatusCode::UNPROCESSABLE_ENTITY,
        "reservation_expired" if shape.other_codes => StatusCode::GONE,
        "insufficient_availability" if shape.small => StatusCode::BAD_REQUEST,
        _ => status,
    };
    if shape.meet == 500 && code == "contention" {
        return (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response();
    }
    if shape.small {
        let text = if code == "insufficient_availability" { "Cannot reserve" } else { "Cannot be done" };
        return (status, text).into_response();
    }
    if !shape.sentences {
        return (status, axum::Json(body)).into_response();
    }
    let sentence = match code.as_str() {
        "insufficient_availability" => "Not enough stock available for this item",
        "reservation_expired" => "Reservation has expired",
        "reservation_confirmed" => "Only PENDING reservations can be changed, this one is CONFIRMED",
        "reservation_cancelled" => "Only PENDING reservations can be changed, this one is CANCELLED",
        "reservation_not_found" => "Not found",
        "contention" => "The stock was modified by another request",
        _ => "Validation failed",
    };
    (status, axum::Json(json!({ "statusCode": status.as_u16(), "message": sentence, "error": "Conflict" })))
        .into_response()
}

fn renamed(shape: Shape, body: Value) -> Value {
    match body {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (if shape.camel { camel(&name) } else { name }, renamed(shape, value)))
                .collect(),
        ),
        Value::Number(number) if shape.envelope => Value::String(number.to_string()),
        other => other,
    }
}
