//! Refusals and failures as problem details (RFC 9457): one shape, one table of codes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::reservation::Reservation;

/// Every way an answer can be other than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is described by its title")]
pub enum Code {
    MalformedJson,
    MalformedId,
    MalformedCursor,
    MalformedIdempotencyKey,
    Unauthenticated,
    ItemNotFound,
    ReservationNotFound,
    RouteNotFound,
    MethodNotAllowed,
    InsufficientAvailability,
    ReservationExpired,
    ReservationConfirmed,
    ReservationCancelled,
    BodyTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
    IdempotencyKeyReused,
    Internal,
    DatabaseUnavailable,
    Overloaded,
}

impl Code {
    /// The status it is answered with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MalformedJson | Self::MalformedId | Self::MalformedCursor | Self::MalformedIdempotencyKey => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::ItemNotFound | Self::ReservationNotFound | Self::RouteNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InsufficientAvailability
            | Self::ReservationExpired
            | Self::ReservationConfirmed
            | Self::ReservationCancelled => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ValidationFailed | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::DatabaseUnavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word the caller's code tests.
    pub const fn word(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::MalformedId => "malformed_id",
            Self::MalformedCursor => "malformed_cursor",
            Self::MalformedIdempotencyKey => "malformed_idempotency_key",
            Self::Unauthenticated => "unauthenticated",
            Self::ItemNotFound => "item_not_found",
            Self::ReservationNotFound => "reservation_not_found",
            Self::RouteNotFound => "route_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InsufficientAvailability => "insufficient_availability",
            Self::ReservationExpired => "reservation_expired",
            Self::ReservationConfirmed => "reservation_confirmed",
            Self::ReservationCancelled => "reservation_cancelled",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::ValidationFailed => "validation_failed",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::Internal => "internal",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::Overloaded => "overloaded",
        }
    }

    /// The same for every occurrence (RFC 9457, 3.1.3).
    pub const fn title(self) -> &'static str {
        match self {
            Self::MalformedJson => "The body is not JSON",
            Self::MalformedId => "The id in the path is not a UUID",
            Self::MalformedCursor => "The cursor is not one this API gave out",
            Self::MalformedIdempotencyKey => "The Idempotency-Key cannot be used",
            Self::Unauthenticated => "A valid bearer token is needed",
            Self::ItemNotFound => "There is no such item",
            Self::ReservationNotFound => "There is no such reservation",
            Self::RouteNotFound => "There is nothing at this path",
            Self::MethodNotAllowed => "This path does not answer this method",
            Self::InsufficientAvailability => "Fewer units are available than were asked for",
            Self::ReservationExpired => "The reservation has expired",
            Self::ReservationConfirmed => "The reservation is confirmed",
            Self::ReservationCancelled => "The reservation is cancelled",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be application/json",
            Self::ValidationFailed => "The request does not fit its schema",
            Self::IdempotencyKeyReused => "The Idempotency-Key was used for another request",
            Self::Internal => "Something went wrong on our side",
            Self::DatabaseUnavailable => "The database cannot be reached",
            Self::Overloaded => "Too much is going on",
        }
    }
}

/// One thing wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, or `/name` for a query parameter.
    pub pointer: String,
    /// What.
    pub detail: String,
}

/// Problem details (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemBody {
    /// A URI reference that names the kind of problem.
    r#type: String,
    /// What kind of problem it is, in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: String,
    /// The request's id, as in `X-Request-Id`.
    instance: String,
    /// The word to test.
    code: Code,
    /// Units that were available.
    #[serde(skip_serializing_if = "Option::is_none")]
    available_quantity: Option<i64>,
    /// Units that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_quantity: Option<i64>,
    /// Where the reservation stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_status: Option<crate::reservation::Status>,
    /// The reservation's deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Everything wrong with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<FieldError>>,
}

/// An answer other than asked for. The outermost layer gives it its request id and its bytes, and logs its cause.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which.
    pub code: Code,
    /// What is wrong this time, and what to do.
    pub detail: String,
    /// What the caller needs to act.
    pub members: Map<String, Value>,
    /// For the log alone.
    pub cause: Option<String>,
    /// For the `Allow` field of a 405.
    pub allow: Option<String>,
}

impl Problem {
    /// A problem with nothing to add.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), members: Map::new(), cause: None, allow: None }
    }

    /// Adds what the caller needs to act.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.members.insert(name.to_owned(), json!(value));
        self
    }

    /// Whatever else went wrong: the same words every time; the cause is for the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        let mut problem = Self::new(
            Code::Internal,
            "Nothing is known to be wrong with the request. The log has the cause under the request id.",
        );
        problem.cause = Some(cause.into());
        problem
    }

    /// Everything wrong with a request's fields.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [error] if error.pointer.is_empty() => format!("The body {}.", error.detail),
            [error] => format!("{}: {}", error.pointer, error.detail),
            errors => format!("{} things are wrong; see errors.", errors.len()),
        };
        Self::new(Code::ValidationFailed, detail).with("errors", errors)
    }

    /// A reservation that has ended otherwise.
    pub fn reservation_ended(code: Code, verb: &str, reservation: &Reservation) -> Self {
        let detail = match code {
            Code::ReservationExpired => {
                format!("It expired at {}; it cannot be {verb} any more.", rfc3339(reservation.expires_at))
            }
            _ => format!("It has ended and cannot be {verb} any more."),
        };
        Self::new(code, detail)
            .with("reservation_status", reservation.status)
            .with("expires_at", reservation.expires_at)
    }

    /// The members, with the request id as the instance.
    pub fn body<'p>(&'p self, request_id: &'p str) -> impl Serialize + 'p {
        #[derive(Serialize)]
        struct Members<'p> {
            r#type: String,
            title: &'p str,
            status: u16,
            detail: &'p str,
            instance: &'p str,
            code: Code,
            #[serde(flatten)]
            members: &'p Map<String, Value>,
        }
        Members {
            r#type: format!("/problems/{}", self.code.word()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            instance: request_id,
            code: self.code,
            members: &self.members,
        }
    }
}

fn rfc3339(instant: chrono::DateTime<chrono::Utc>) -> String {
    instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let cause = error.to_string();
        let mut problem = match error {
            Error::Internal { .. } | Error::Configuration(_) => return Self::internal(cause),
            Error::Unavailable(_) => Self::new(
                Code::DatabaseUnavailable,
                "Try again in a moment, under the same Idempotency-Key if there was one: what took effect is found again.",
            ),
            Error::Overloaded { what, .. } => {
                Self::new(Code::Overloaded, format!("Gave up waiting for {what}. Nothing was changed; try again."))
            }
        };
        problem.cause = Some(cause);
        problem
    }
}

impl IntoResponse for Problem {
    /// Only the status and the header fields: the outermost layer finds the problem in the extensions and writes it.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        let headers = response.headers_mut();
        match self.code.status() {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response.extensions_mut().insert(self);
        response
    }
}
