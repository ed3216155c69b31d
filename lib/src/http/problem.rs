//! Refusals and failures as problem details (RFC 9457): one shape, one table of codes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Error;
use crate::reservation::{Reservation, Status};

macro_rules! problems {
    ($($code:ident = $status:literal, $word:literal, $title:literal;)*) => {
        /// Every way an answer can be other than asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
        pub enum Code {
            $(
                #[doc = $title]
                #[serde(rename = $word)]
                $code,
            )*
        }

        impl Code {
            /// The status it is answered with.
            pub fn status(self) -> StatusCode {
                let status = match self {
                    $(Self::$code => StatusCode::from_u16($status),)*
                };
                status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The word the caller's code tests.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$code => $word,)*
                }
            }

            /// The same for every occurrence (RFC 9457, 3.1.3).
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$code => $title,)*
                }
            }
        }
    };
}

problems! {
    MalformedJson = 400, "malformed_json", "The body is not JSON";
    MalformedId = 400, "malformed_id", "The id in the path is not a UUID";
    MalformedCursor = 400, "malformed_cursor", "The cursor is not one this API gave out";
    MalformedIdempotencyKey = 400, "malformed_idempotency_key", "The Idempotency-Key cannot be used";
    Unauthenticated = 401, "unauthenticated", "A valid bearer token is needed";
    ItemNotFound = 404, "item_not_found", "There is no such item";
    ReservationNotFound = 404, "reservation_not_found", "There is no such reservation";
    RouteNotFound = 404, "route_not_found", "There is nothing at this path";
    MethodNotAllowed = 405, "method_not_allowed", "This path does not answer this method";
    InsufficientAvailability = 409, "insufficient_availability", "Fewer units are available than were asked for";
    ReservationExpired = 409, "reservation_expired", "The reservation has expired";
    ReservationConfirmed = 409, "reservation_confirmed", "The reservation is confirmed";
    ReservationCancelled = 409, "reservation_cancelled", "The reservation is cancelled";
    ReservationNotConfirmed = 409, "reservation_not_confirmed", "The reservation is not confirmed";
    ReturnExceedsConfirmed = 409, "return_exceeds_confirmed", "Fewer units were sold than are to come back";
    BodyTooLarge = 413, "body_too_large", "The body is too large";
    UnsupportedMediaType = 415, "unsupported_media_type", "The body must be application/json";
    ValidationFailed = 422, "validation_failed", "The request does not fit its schema";
    IdempotencyKeyReused = 422, "idempotency_key_reused", "The Idempotency-Key was used for another request";
    Internal = 500, "internal", "Something went wrong on our side";
    DatabaseUnavailable = 503, "database_unavailable", "The database cannot be reached";
    Overloaded = 503, "overloaded", "Too much is going on";
}

/// One thing wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, or `/name` for a query parameter.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// What the caller needs to act, each where it says something.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Facts {
    /// Units that were available.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default, with = "i64")]
    pub available_quantity: Option<i64>,
    /// Units that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default, with = "i64")]
    pub requested_quantity: Option<i64>,
    /// Units that were confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default, with = "i64")]
    pub confirmed_quantity: Option<i64>,
    /// Of these, units that came back before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default, with = "i64")]
    pub returned_quantity: Option<i64>,
    /// Where the reservation stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default, with = "Status")]
    pub reservation_status: Option<Status>,
    /// The reservation's deadline.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::instant::write_option")]
    #[schemars(default, with = "DateTime<Utc>")]
    pub expires_at: Option<DateTime<Utc>>,
    /// Everything wrong with the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub errors: Vec<FieldError>,
}

/// Problem details (RFC 9457), as they are written.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemBody<'p> {
    /// A URI reference that names the kind of problem.
    r#type: String,
    /// What kind of problem it is, in words.
    title: &'p str,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: &'p str,
    /// The request's id, as in `X-Request-Id`.
    instance: &'p str,
    /// The word to test.
    code: Code,
    #[serde(flatten)]
    facts: &'p Facts,
}

/// An answer other than asked for. The outermost layer gives it its request id and its bytes, and logs its cause.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which.
    pub(crate) code: Code,
    /// What is wrong this time, and what to do.
    pub(crate) detail: String,
    /// What the caller needs to act.
    pub(crate) facts: Box<Facts>,
    /// For the log alone.
    pub(crate) cause: Option<String>,
    /// For the `Allow` field of a 405.
    pub(crate) allow: Option<String>,
}

impl Problem {
    /// A problem with nothing to add.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), facts: Box::default(), cause: None, allow: None }
    }

    /// An unexpected failure: the same words every time; the cause is for the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail = "Nothing is known to be wrong with the request. The log has the cause under the request id.";
        Self { cause: Some(cause.into()), ..Self::new(Code::Internal, detail) }
    }

    /// Everything wrong with a request's fields.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [error] if error.pointer.is_empty() => format!("The body {}.", error.detail),
            [error] => format!("{}: {}", error.pointer, error.detail),
            errors => format!("{} things are wrong; see errors.", errors.len()),
        };
        let facts = Box::new(Facts { errors, ..Facts::default() });
        Self { facts, ..Self::new(Code::ValidationFailed, detail) }
    }

    /// The path has other methods than the one asked for.
    pub fn method_not_allowed(allowed: &[&str]) -> Self {
        let allow = allowed.join(", ");
        Self { allow: Some(allow.clone()), ..Self::new(Code::MethodNotAllowed, format!("It answers {allow}.")) }
    }

    /// No item has the id.
    pub fn item_not_found() -> Self {
        Self::new(Code::ItemNotFound, "No item has this id.")
    }

    /// No reservation has the id.
    pub fn reservation_not_found() -> Self {
        Self::new(Code::ReservationNotFound, "No reservation has this id.")
    }

    /// The key belongs to another request.
    pub fn idempotency_key_reused() -> Self {
        let detail = "The first request under this key was another one. Repeat that one, or choose a new key.";
        Self::new(Code::IdempotencyKeyReused, detail)
    }

    /// Too few units for a reservation.
    pub fn insufficient_availability(available_quantity: i64, requested_quantity: i64) -> Self {
        let detail = format!("{requested_quantity} were asked for and {available_quantity} were available.");
        Self::new(Code::InsufficientAvailability, detail).with_quantities(available_quantity, requested_quantity)
    }

    /// Adds how many units there were, and how many were asked for.
    pub fn with_quantities(mut self, available_quantity: i64, requested_quantity: i64) -> Self {
        self.facts.available_quantity = Some(available_quantity);
        self.facts.requested_quantity = Some(requested_quantity);
        self
    }

    /// A reservation that has ended otherwise; `verb` is the participle of what was asked.
    pub fn reservation_ended(code: Code, verb: &str, reservation: &Reservation) -> Self {
        let deadline = crate::instant::written(reservation.expires_at);
        let detail = match reservation.status {
            Status::Expired => format!("It expired at {deadline}; it cannot be {verb} any more."),
            Status::Pending | Status::Confirmed | Status::Cancelled => {
                format!("It has ended and cannot be {verb} any more.")
            }
        };
        let mut problem = Self::new(code, detail);
        problem.facts.reservation_status = Some(reservation.status);
        problem.facts.expires_at = Some(reservation.expires_at);
        problem
    }

    /// Nothing of the reservation was sold.
    pub fn reservation_not_confirmed(reservation: &Reservation) -> Self {
        let mut problem = Self::new(Code::ReservationNotConfirmed, "Nothing of it was sold, so nothing can come back.");
        problem.facts.reservation_status = Some(reservation.status);
        problem.facts.expires_at = Some(reservation.expires_at);
        problem
    }

    /// More units are to come back than were sold and have not come back.
    pub fn return_exceeds_confirmed(reservation: &Reservation, requested_quantity: i64) -> Self {
        let Reservation { confirmed_quantity, returned_quantity, .. } = *reservation;
        let detail = format!(
            "{requested_quantity} are to come back; {confirmed_quantity} were sold, of which {returned_quantity} are back."
        );
        let mut problem = Self::new(Code::ReturnExceedsConfirmed, detail);
        problem.facts.requested_quantity = Some(requested_quantity);
        problem.facts.confirmed_quantity = Some(confirmed_quantity);
        problem.facts.returned_quantity = Some(returned_quantity);
        problem
    }

    /// The members, with the request id as the instance.
    pub(crate) fn body<'p>(&'p self, request_id: &'p str) -> ProblemBody<'p> {
        ProblemBody {
            r#type: format!("/problems/{}", self.code.word()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            instance: request_id,
            code: self.code,
            facts: &self.facts,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let cause = error.to_string();
        let mut problem = match error {
            Error::Internal { .. } | Error::Configuration(_) | Error::NotReadCommitted(_) => {
                return Self::internal(cause);
            }
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
