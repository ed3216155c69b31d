//! One call of a verb that is answered otherwise than the service means: by a gateway in between, or by a failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// What is answered instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddAnswer {
    /// A status with a sentence, and when to ask again.
    Status(u16, Option<u64>),
    /// A success that is no JSON.
    Garbage,
    /// A success that ends before its body does.
    CutShort,
    /// Nothing.
    Silence,
}

/// One such call.
pub struct Odd {
    verb: &'static str,
    nth: u64,
    answer: OddAnswer,
    executed: bool,
    calls: AtomicU64,
    given: AtomicBool,
}

impl Odd {
    /// The `nth` call of a verb (from 1) is answered so; `executed`: after it was done, and not instead.
    pub fn new(verb: &'static str, nth: u64, answer: OddAnswer, executed: bool) -> Arc<Self> {
        Arc::new(Odd { verb, nth, answer, executed, calls: AtomicU64::new(0), given: AtomicBool::new(false) })
    }

    /// Whether that call came.
    pub fn was_given(&self) -> bool {
        self.given.load(Ordering::Relaxed)
    }

    fn is_struck(&self, request: &Request) -> bool {
        verb(request) == self.verb && self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
    }
}

fn verb(request: &Request) -> &'static str {
    let path = request.uri().path();
    match (request.method() == Method::POST, path.rsplit('/').next().unwrap_or_default()) {
        (true, "items") => "create_item",
        (true, "reservations") => "reserve",
        (true, "confirm") => "confirm",
        (true, "cancel") => "cancel",
        (true, _) => "expire",
        (false, _) if path.contains("/items/") => "get_item",
        (false, _) => "get_reservation",
    }
}

/// The layer around a service.
pub async fn answer(State(odd): State<Option<Arc<Odd>>>, request: Request, next: Next) -> Response {
    let Some(odd) = odd.filter(|odd| odd.is_struck(&request)) else { return next.run(request).await };
    odd.given.store(true, Ordering::Relaxed);
    if odd.executed {
        next.run(request).await;
    }
    match odd.answer {
        OddAnswer::Status(status, retry_after) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            match retry_after {
                Some(seconds) => (status, [(header::RETRY_AFTER, seconds.to_string())], "not now").into_response(),
                None => (status, "not now").into_response(),
            }
        }
        OddAnswer::Garbage => (StatusCode::OK, "<html>").into_response(),
        OddAnswer::CutShort => {
            let broken = futures::stream::iter([Ok(Bytes::from("{\"id\":")), Err(std::io::Error::other("cut short"))]);
            Body::from_stream(broken).into_response()
        }
        OddAnswer::Silence => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
    }
}
