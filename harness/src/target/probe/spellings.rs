//! The spellings of a request that services usually take, the assignment's own first, and what a refusal asks for besides.

use serde_json::{Value, json};

use crate::{
    history::Request,
    target::{
        answers::normal,
        dialect::{Send, UNIQUE, Unit},
    },
};

/// The given spelling alone, if it was given; otherwise the assignment's and its usual variants.
pub(super) fn of_an_item(given: &Send) -> Vec<Send> {
    if given.total != Send::default().total || given.name != Send::default().name {
        return vec![given.clone()];
    }
    let total = |name: &str| Send { total: name.to_owned(), ..given.clone() };
    vec![given.clone(), total("initialQuantity"), total("total_quantity"), total("totalQuantity"), total("quantity")]
}

/// As above. Once a spelling has worked, it is the only one.
pub(super) fn of_a_reservation(given: &Send, worked: u32) -> Vec<Send> {
    if worked > 0 {
        return vec![given.clone()];
    }
    let usual = Send::default();
    let called =
        |item: &str, customer: &str| Send { item: item.to_owned(), customer: customer.to_owned(), ..given.clone() };
    let mut named = vec![given.clone()];
    let mut others = Vec::new();
    if given.item == usual.item && given.customer == usual.customer {
        named.push(called("itemId", "customerId"));
        let customers = [("user_id", "userId"), ("", "")];
        others.extend(customers.iter().flat_map(|(snake, camel)| [called("item_id", snake), called("itemId", camel)]));
        others.extend([called("product_id", "customer_id"), called("productId", "customerId")]);
    }
    let typed = |send: &Send| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(text, number)| Send {
            item_as_text: given.item_as_text || text,
            customer_as_number: given.customer_as_number || number,
            ..send.clone()
        })
    };
    named.iter().flat_map(typed).chain(others).collect()
}

/// What is not as it was given, in sentences.
pub(super) fn differences(given: &Send, learnt: &Send) -> Vec<String> {
    let camel = learnt.item == "itemId" && given.item != learnt.item;
    let customer = learnt.customer != given.customer && !(camel && learnt.customer == "customerId");
    let told = |what: String, differs: bool| differs.then_some(what);
    let more = |of: &str, given: &crate::target::dialect::Fields, learnt: &crate::target::dialect::Fields| {
        let names: Vec<&str> = learnt.keys().filter(|name| !given.contains_key(*name)).map(String::as_str).collect();
        told(format!("{of} needs {} besides", names.join(", ")), !names.is_empty())
    };
    [
        told(format!("an item's units are sent as {}", learnt.total), learnt.total != given.total),
        told("request fields are in camel case".to_owned(), camel),
        told(format!("the item is sent as {}", learnt.item), learnt.item != given.item && !camel),
        told("no customer is sent".to_owned(), customer && learnt.customer.is_empty()),
        told(format!("a customer is sent as {}", learnt.customer), customer && !learnt.customer.is_empty()),
        told("an item's id is sent as a text".to_owned(), learnt.item_as_text != given.item_as_text),
        told("a customer's id is sent as a number".to_owned(), learnt.customer_as_number != given.customer_as_number),
        told(
            "every call that changes something needs an idempotency key".to_owned(),
            learnt.key_required != given.key_required,
        ),
        told(
            format!("an idempotency key is sent in the body, as {}", learnt.key_field),
            learnt.key_field != given.key_field,
        ),
        told(
            format!("the API key is sent as {}", learnt.api_key_header),
            learnt.api_key_header != given.api_key_header,
        ),
        more("an item", &given.item_extra, &learnt.item_extra),
        more("a reservation", &given.reserve_extra, &learnt.reserve_extra),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What some services want besides, with a value that is likely to do.
fn besides(request: &Request) -> Vec<(&'static str, Value)> {
    let unique = || json!(UNIQUE);
    match request {
        Request::CreateItem { .. } => vec![
            ("sku", unique()),
            ("code", unique()),
            ("slug", unique()),
            ("description", json!("made by stockhold-harness")),
            ("price", json!(100)),
            ("pricecents", json!(100)),
            ("priceincents", json!(100)),
            ("unitprice", json!(100)),
            ("currency", json!("USD")),
            ("category", json!("harness")),
            ("location", json!("harness")),
        ],
        _ => vec![
            ("orderid", unique()),
            ("cartid", unique()),
            ("sessionid", unique()),
            ("requestid", unique()),
            ("reference", unique()),
            ("email", json!("harness@example.com")),
            ("customeremail", json!("harness@example.com")),
        ],
    }
}

/// What a refusal asks for: an idempotency key first as a header, then in the body; or a field that it names and that is
/// not sent yet.
pub(super) fn asked_for(send: &Send, request: &Request, told: &str) -> Option<Send> {
    let words: Vec<&str> = told.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    if told.to_ascii_lowercase().contains("idempoten") {
        if !send.key_required {
            return Some(Send { key_required: true, ..send.clone() });
        }
        let field = words.iter().find(|word| ["idempotencykey", "idempotencyid"].contains(&normal(word).as_str()))?;
        return send.key_field.is_empty().then(|| Send { key_field: (*field).to_owned(), ..send.clone() });
    }
    let wanted = ["required", "missing", "must", "should", "expected", "null", "undefined", "empty", "provide"];
    let lower = told.to_ascii_lowercase();
    if !wanted.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let mut send = send.clone();
    let extra =
        if matches!(request, Request::CreateItem { .. }) { &mut send.item_extra } else { &mut send.reserve_extra };
    let before = extra.len();
    for (name, value) in besides(request) {
        // The sentence may begin with the name: "Sku is required".
        let named =
            words.iter().filter(|word| normal(word) == name).min_by_key(|word| word.starts_with(char::is_uppercase));
        if let Some(word) = named.filter(|word| !extra.contains_key(**word)) {
            extra.insert((*word).to_owned(), value);
        }
    }
    (extra.len() > before).then_some(send)
}

/// How a deadline is asked for.
pub(super) const OF_A_DEADLINE: &[(&str, Unit)] = &[
    ("ttl_seconds", Unit::Seconds),
    ("ttl_seconds", Unit::WholeSeconds),
    ("ttlSeconds", Unit::Seconds),
    ("ttlSeconds", Unit::WholeSeconds),
    ("ttl_ms", Unit::Milliseconds),
    ("ttlMs", Unit::Milliseconds),
    ("ttl", Unit::Seconds),
    ("ttl", Unit::WholeSeconds),
    ("ttl", Unit::Milliseconds),
    ("expires_in_seconds", Unit::Seconds),
    ("expires_in_seconds", Unit::WholeSeconds),
    ("expiresInSeconds", Unit::Seconds),
    ("expiresInSeconds", Unit::WholeSeconds),
    ("expires_in", Unit::Seconds),
    ("expires_in", Unit::WholeSeconds),
    ("expiresIn", Unit::Seconds),
    ("expiresIn", Unit::WholeSeconds),
    ("expires_in_ms", Unit::Milliseconds),
    ("expiresInMs", Unit::Milliseconds),
    ("hold_seconds", Unit::WholeSeconds),
    ("holdSeconds", Unit::WholeSeconds),
    ("duration_seconds", Unit::WholeSeconds),
    ("durationSeconds", Unit::WholeSeconds),
    ("ttl_minutes", Unit::FractionalMinutes),
    ("ttlMinutes", Unit::FractionalMinutes),
    ("expires_in_minutes", Unit::FractionalMinutes),
    ("expiresInMinutes", Unit::FractionalMinutes),
    ("hold_minutes", Unit::FractionalMinutes),
    ("holdMinutes", Unit::FractionalMinutes),
    ("expires_at", Unit::Instant),
    ("expiresAt", Unit::Instant),
    ("hold_until", Unit::Instant),
    ("holdUntil", Unit::Instant),
    ("reserved_until", Unit::Instant),
    ("reservedUntil", Unit::Instant),
    ("valid_until", Unit::Instant),
    ("validUntil", Unit::Instant),
    ("deadline", Unit::Instant),
];
