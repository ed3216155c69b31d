//! Reads answers in the shapes services usually give them: snake or camel case, an envelope, numbers as strings,
//! refusals as problem details, codes, or plain sentences.

use serde_json::{Map, Value};

use crate::{
    history::{Answer, ItemView, Outcome, Reason, Request, ReservationView, Status, SweepView},
    target::{
        connection::Response,
        dialect::{Dialect, Read},
        pace,
        reasons::{reason, speaks_of_contention},
    },
};

const ENVELOPES: &[&str] = &["data", "result", "payload", "response"];
const ITEM_ENVELOPES: &[&str] = &["item", "product", "inventory", "stock", "quantities", "counts", "availability"];
const RESERVATION_ENVELOPES: &[&str] = &["reservation", "hold"];

/// What an answer comes to. A 2xx that cannot be read is unknown: something happened, and nobody can say what.
pub fn outcome(dialect: &Dialect, request: &Request, response: &Response) -> Outcome {
    let body = body(response);
    match response.status {
        200..=299 if is_garbled(&body) => Outcome::Unknown(format!("{} with a body that is no JSON", response.status)),
        200..=299 if says_it_failed(&body) => Outcome::Refused(reason(dialect, request, response.status, &body)),
        200..=299 => match answer(&dialect.read, request, &body) {
            Some(answer) => contrary(request, &answer).map_or(Outcome::Ok(answer), Outcome::Refused),
            None => Outcome::Unknown(format!("{} with a body that cannot be read", response.status)),
        },
        status if dialect.behaviour.not_executed.contains(&status) => Outcome::Refused(Reason::Contention),
        // A transaction that lost to another was rolled back, whatever the status code it is told with.
        _ if pace::is_limited(response) => Outcome::Refused(Reason::Contention),
        500.. if speaks_of_contention(&body) => Outcome::Refused(Reason::Contention),
        408 | 425 | 500.. => Outcome::Unknown(format!("answered {}", response.status)),
        status => Outcome::Refused(reason(dialect, request, status, &body)),
    }
}

/// An answer's body; what is no JSON is a text.
pub(crate) fn body(response: &Response) -> Value {
    let text = || Value::String(String::from_utf8_lossy(&response.body).into_owned());
    serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| if response.body.is_empty() { Value::Null } else { text() })
}

/// A page, or JSON that was cut short or broken on its way. A plain word, such as `OK`, says nothing more than its status.
fn is_garbled(body: &Value) -> bool {
    body.as_str().is_some_and(|text| text.trim_start().starts_with(['<', '{', '[']))
}

/// A 2xx whose own words say that the opposite is the case: a refusal in good manners.
fn contrary(request: &Request, answer: &Answer) -> Option<Reason> {
    let Answer::Reservation(view) = answer else { return None };
    match (request, view.status?) {
        (Request::Confirm { .. } | Request::Cancel { .. }, Status::Expired) => Some(Reason::ReservationExpired),
        (Request::Confirm { .. }, Status::Cancelled) => Some(Reason::ReservationCancelled),
        (Request::Cancel { .. }, Status::Confirmed) => Some(Reason::ReservationConfirmed),
        _ => None,
    }
}

fn says_it_failed(body: &Value) -> bool {
    ["success", "ok"].iter().any(|name| body.get(name) == Some(&Value::Bool(false)))
}

fn answer(read: &Read, request: &Request, body: &Value) -> Option<Answer> {
    match request {
        Request::CreateItem { .. } => {
            let item = item(read, body);
            item.id.is_some().then_some(Answer::Item(item))
        }
        Request::GetItem { .. } => {
            let item = item(read, body);
            (item.available.is_some() || item.held.is_some()).then_some(Answer::Item(item))
        }
        Request::Reserve { .. } | Request::ReserveOdd { .. } => {
            let reservation = reservation(read, body);
            reservation.id.is_some().then_some(Answer::Reservation(reservation))
        }
        Request::GetReservation { .. } => {
            let reservation = reservation(read, body);
            reservation.status.is_some().then_some(Answer::Reservation(reservation))
        }
        // The status line says it all: a 204 is an answer too.
        Request::Confirm { .. } | Request::ConfirmLate { .. } | Request::Cancel { .. } => {
            Some(Answer::Reservation(reservation(read, body)))
        }
        Request::Expire => Some(Answer::Sweep(sweep(read, body))),
    }
}

fn item(read: &Read, body: &Value) -> ItemView {
    let rooms = rooms(body, ITEM_ENVELOPES);
    let mut item = ItemView {
        id: find(&rooms, read.item_id.as_deref(), &["id", "itemid", "uuid", "_id"]).and_then(text),
        total: find(
            &rooms,
            read.total.as_deref(),
            &["totalquantity", "total", "totalstock", "initialquantity", "quantity", "stock"],
        )
        .and_then(number),
        available: find(
            &rooms,
            read.available.as_deref(),
            &[
                "availablequantity",
                "available",
                "quantityavailable",
                "availablestock",
                "availableunits",
                "remaining",
                "remainingquantity",
                "availability",
            ],
        )
        .and_then(number),
        held: find(
            &rooms,
            read.held.as_deref(),
            &[
                "heldquantity",
                "held",
                "reservedquantity",
                "reserved",
                "reservedstock",
                "pendingquantity",
                "pending",
                "onhold",
            ],
        )
        .and_then(number),
        confirmed: find(
            &rooms,
            read.confirmed.as_deref(),
            &["confirmedquantity", "confirmed", "soldquantity", "sold", "soldstock", "committedquantity"],
        )
        .and_then(number),
        version: find(&rooms, None, &["version"]).and_then(number),
    };
    // Where one of the four is not said, the other three say it.
    if let (None, None, Some(total), Some(available), Some(confirmed)) =
        (&read.held, item.held, item.total, item.available, item.confirmed)
    {
        item.held = Some(total - available - confirmed);
    }
    item
}

fn reservation(read: &Read, body: &Value) -> ReservationView {
    let rooms = rooms(body, RESERVATION_ENVELOPES);
    let instant =
        |configured: &Option<String>, usual: &[&str]| find(&rooms, configured.as_deref(), usual).and_then(instant_ms);
    let created = instant(&read.created_at, &["createdat", "created", "reservedat"]);
    let expires =
        instant(&read.expires_at, &["expiresat", "expires", "expiry", "expirationtime", "expiration", "holduntil"]);
    ReservationView {
        id: find(&rooms, read.reservation_id.as_deref(), &["id", "reservationid", "uuid", "_id", "holdid"])
            .and_then(text),
        item: find(&rooms, None, &["itemid", "productid"]).and_then(text),
        status: find(&rooms, read.status.as_deref(), &["status", "state", "reservationstatus"]).and_then(status),
        quantity: find(&rooms, read.quantity.as_deref(), &["quantity", "qty", "units", "amount"]).and_then(number),
        ttl_ms: created.zip(expires).and_then(|(created, expires)| u64::try_from(expires - created).ok()),
    }
}

fn sweep(read: &Read, body: &Value) -> SweepView {
    let rooms = rooms(body, &[]);
    let count = find(
        &rooms,
        read.expired_count.as_deref(),
        &["expiredcount", "expired", "expiredreservations", "count", "processed", "releasedcount"],
    );
    SweepView {
        expired: count.and_then(|value| match value {
            Value::Array(expired) => Some(expired.len() as u64),
            other => number(other).and_then(|count| u64::try_from(count).ok()),
        }),
        released: find(&rooms, None, &["releasedquantity", "released"]).and_then(number),
        has_more: find(&rooms, None, &["hasmore"]).and_then(Value::as_bool),
    }
}

/// The objects to look in, outermost first: the body, its envelope, and the object named after the thing itself.
fn rooms<'v>(body: &'v Value, named: &[&str]) -> Vec<&'v Map<String, Value>> {
    let mut rooms: Vec<&Map<String, Value>> = body.as_object().into_iter().collect();
    let mut next = 0;
    while let Some(room) = rooms.get(next).copied() {
        next += 1;
        for envelope in named.iter().chain(ENVELOPES) {
            let inner =
                room.iter().find(|(name, _)| normal(name) == *envelope).and_then(|(_, value)| value.as_object());
            rooms.extend(inner.filter(|inner| !rooms.iter().any(|known| std::ptr::eq(*known, *inner))));
        }
    }
    // What is named after the thing knows it best: `{"id": request, "reservation": {"id": …}}`.
    rooms.reverse();
    rooms
}

fn find<'v>(rooms: &[&'v Map<String, Value>], configured: Option<&str>, usual: &[&str]) -> Option<&'v Value> {
    let within = |name: &str| {
        rooms.iter().find_map(|room| {
            room.iter().find(|(key, value)| normal(key) == name && !value.is_null()).map(|(_, value)| value)
        })
    };
    match configured {
        None => usual.iter().find_map(|name| within(name)),
        Some("") => None,
        Some(path) => {
            let mut steps = path.split('.');
            let first = within(&normal(steps.next()?))?;
            steps.try_fold(first, |value, step| {
                value.as_object()?.iter().find(|(key, _)| normal(key) == normal(step)).map(|(_, value)| value)
            })
        }
    }
}

/// `available_quantity`, `availableQuantity` and `Available-Quantity` are one name.
pub(crate) fn normal(name: &str) -> String {
    let trimmed: String = name.chars().filter(|letter| letter.is_alphanumeric()).collect();
    if name.starts_with('_') { format!("_{}", trimmed.to_lowercase()) } else { trimmed.to_lowercase() }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().filter(|whole| whole.fract() == 0.0).map(|whole| whole as i64))
        }
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Milliseconds since the epoch, from RFC 3339, with or without a zone, or a number (seconds or milliseconds, told apart
/// by their size).
pub(crate) fn instant_ms(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => chrono::DateTime::parse_from_rfc3339(text)
            .map(|instant| instant.timestamp_millis())
            // Only the time between two of them matters, so one without a zone will do.
            .or_else(|_| {
                text.replace(' ', "T")
                    .parse()
                    .map(|instant: chrono::NaiveDateTime| instant.and_utc().timestamp_millis())
            })
            .ok(),
        Value::Number(count) => count.as_f64().map(|count| {
            if count > 100_000_000_000.0 { count.round() as i64 } else { (count * 1_000.0).round() as i64 }
        }),
        _ => None,
    }
}

fn status(value: &Value) -> Option<Status> {
    let word = value.as_str()?.to_ascii_lowercase();
    [
        (&["pending", "held", "hold", "active", "reserved", "created", "open"][..], Status::Pending),
        (&["confirmed", "completed", "committed", "sold", "fulfilled", "purchased", "paid"][..], Status::Confirmed),
        (&["cancelled", "canceled", "released", "voided"][..], Status::Cancelled),
        (&["expired", "lapsed", "timed_out", "timeout"][..], Status::Expired),
    ]
    .into_iter()
    .find(|(words, _)| words.contains(&word.as_str()))
    .map(|(_, status)| status)
}
