//! Why a call was refused: by a known code first, then by the sentence this deployment is known to refuse with, then by
//! what the sentence speaks of. A call that lost to another and was told so took no units and found none missing: taking
//! it for a refusal would make a correct service look as if it sold less than it has.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    history::{Reason, Request},
    target::dialect::Dialect,
};

/// These say that two calls met, and nothing about units or states.
const CONTENTION: &[&str] = &[
    "serializ",
    "deadlock",
    "concurren",
    "optimistic",
    "version conflict",
    "version mismatch",
    "conflicting update",
    "in progress",
    "could not obtain lock",
    "lock timeout",
    "modified by another",
    "updated by another",
];
/// These are said of units, too: "not enough left, try again later".
const COME_AGAIN: &[&str] = &["retry", "try again"];
const STOCK: &[&str] =
    &["insufficient", "not enough", "available", "stock", "sold out", "sold_out", "exceed", "capacity", "only "];
/// What is said of a repeat whose first call is still under way, where only one of the two can write the key down.
const REPEAT: &[&str] = &["duplicate", "idempoten", "already being processed"];

/// Why a call was refused.
pub(crate) fn reason(dialect: &Dialect, request: &Request, status: u16, body: &Value) -> Reason {
    let words = words(body);
    match words.first().map(|code| code.to_ascii_lowercase()).unwrap_or_default().as_str() {
        "insufficient_availability" => return Reason::InsufficientAvailability,
        "reservation_expired" => return Reason::ReservationExpired,
        "reservation_confirmed" => return Reason::ReservationConfirmed,
        "reservation_cancelled" => return Reason::ReservationCancelled,
        "validation_failed" | "malformed_id" | "malformed_json" => return Reason::Invalid,
        _ => {}
    }
    match status {
        401 | 403 => return Reason::Unauthorized,
        404 => return Reason::NotFound,
        _ => {}
    }
    let told = words.join(" ").to_ascii_lowercase();
    // What cannot be done names no state.
    let told =
        ["be confirmed", "be cancelled", "be canceled"].iter().fold(told, |told, verb| told.replace(verb, "be done"));
    let speaks_of = |stems: &[&str]| stems.iter().any(|stem| told.contains(stem));
    match request {
        Request::Reserve { key, .. } => reserve(dialect, key.is_some(), status, &told, body),
        _ if speaks_of(CONTENTION) => Reason::Contention,
        Request::Confirm { .. } if speaks_of(&["expir", "laps"]) || status == 410 => Reason::ReservationExpired,
        Request::Confirm { .. } if speaks_of(&["cancel", "released"]) => Reason::ReservationCancelled,
        Request::Confirm { .. } if speaks_of(&["already", "confirmed"]) => Reason::ReservationConfirmed,
        Request::Cancel { .. } if speaks_of(&["expir", "laps"]) || status == 410 => Reason::ReservationExpired,
        Request::Cancel { .. } if speaks_of(&["confirm", "sold", "completed", "fulfilled"]) => {
            Reason::ReservationConfirmed
        }
        Request::Cancel { .. } if speaks_of(&["already", "cancelled", "canceled"]) => Reason::ReservationCancelled,
        _ if speaks_of(COME_AGAIN) => Reason::Contention,
        Request::Confirm { .. } | Request::Cancel { .. }
            if status == 409 || speaks_of(&["pending", "state", "status", "be done"]) =>
        {
            Reason::NotPending
        }
        _ => Reason::Invalid,
    }
}

fn reserve(dialect: &Dialect, keyed: bool, status: u16, told: &str, body: &Value) -> Reason {
    let behaviour = &dialect.behaviour;
    let speaks_of = |text: &str, stems: &[&str]| stems.iter().any(|stem| text.contains(stem));
    // What was heard when there was nothing else to say outweighs every guess.
    if behaviour.insufficient_status == Some(status)
        && behaviour.insufficient_says.as_ref().is_none_or(|known| *known == sentence(body))
    {
        return Reason::InsufficientAvailability;
    }
    if speaks_of(told, CONTENTION) || keyed && speaks_of(told, REPEAT) {
        return Reason::Contention;
    }
    if speaks_of(told, STOCK) {
        // A refusal of the request itself may name the limit that it exceeds.
        let malformed =
            matches!(status, 400 | 422) && behaviour.insufficient_status.is_some_and(|known| known != status);
        return if malformed { Reason::Invalid } else { Reason::InsufficientAvailability };
    }
    if speaks_of(told, COME_AGAIN) {
        return Reason::Contention;
    }
    if matches!(status, 409 | 410 | 412 | 423) {
        // Who says "not enough" for that, and something else this time, means something else.
        let other = behaviour.insufficient_says.as_ref().is_some_and(|known| speaks_of(known, STOCK));
        return if other { Reason::Contention } else { Reason::InsufficientAvailability };
    }
    Reason::Invalid
}

/// Whether an answer says that its call lost to another.
pub(crate) fn speaks_of_contention(body: &Value) -> bool {
    let told = words(body).join(" ").to_ascii_lowercase();
    CONTENTION.iter().any(|stem| told.contains(stem))
}

/// Everything a refusal says.
pub(crate) fn told(body: &Value) -> String {
    words(body).join(" ")
}

/// The words of a refusal that are the same for every item and every quantity: no numbers, no ids, and no names of items,
/// which have digits in them.
pub(crate) fn sentence(body: &Value) -> String {
    let told = words(body).join(" ").to_ascii_lowercase();
    let words: BTreeSet<&str> = told
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty() && !word.contains(|letter: char| letter.is_ascii_digit()))
        .collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}

/// Every text of a refusal, the machine-readable ones first.
fn words(body: &Value) -> Vec<String> {
    const TOLD_FIRST: &[&str] = &["code", "errorcode", "reason", "error", "reservationstatus", "currentstatus"];
    const SAYS_NOTHING: &[&str] = &["path", "instance", "url", "stack", "trace", "timestamp", "requestid", "traceid"];
    fn collect(value: &Value, depth: u32, words: &mut Vec<(usize, String)>, rank: usize) {
        match value {
            Value::String(text) => words.push((rank, text.clone())),
            Value::Array(values) if depth < 4 => {
                values.iter().for_each(|value| collect(value, depth + 1, words, rank));
            }
            Value::Object(fields) if depth < 4 => {
                for (name, value) in fields {
                    let name: String =
                        name.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_lowercase();
                    let rank = TOLD_FIRST.iter().position(|first| *first == name).unwrap_or(TOLD_FIRST.len());
                    // Where a refusal came from says nothing about why.
                    if !SAYS_NOTHING.contains(&name.as_str()) {
                        collect(value, depth + 1, words, rank);
                    }
                }
            }
            _ => {}
        }
    }
    let mut ranked = Vec::new();
    collect(body, 0, &mut ranked, 99);
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reservation(key: Option<&str>) -> Request {
        let key = key.map(str::to_owned);
        Request::Reserve { item: "1".to_owned(), customer: "c".to_owned(), quantity: 1, ttl_ms: None, key }
    }

    fn heard(sentence_of: &Value, status: u16) -> Dialect {
        let mut dialect = Dialect::default();
        dialect.behaviour.insufficient_status = Some(status);
        dialect.behaviour.insufficient_says = Some(sentence(sentence_of));
        dialect
    }

    #[test]
    fn what_was_heard_before_outweighs_every_guess() {
        let dialect = heard(&json!({ "message": "3 of harness_1a_probe_1 left: try again later" }), 400);
        let again = json!({ "message": "0 of harness_1a_burst_3 left: try again later" });
        assert_eq!(reason(&dialect, &reservation(None), 400, &again), Reason::InsufficientAvailability);
        let limit = json!({ "message": "quantity must not exceed 50" });
        assert_eq!(reason(&heard(&again, 409), &reservation(None), 400, &limit), Reason::Invalid);
    }

    #[test]
    fn a_lost_race_is_no_lack_of_units() {
        let dialect = heard(&json!({ "error": "Insufficient stock" }), 409);
        for told in ["could not serialize access to stock", "Please refresh", "Stock was modified by another request"] {
            let told = json!({ "error": told });
            assert_eq!(reason(&dialect, &reservation(None), 409, &told), Reason::Contention, "{told}");
        }
    }

    #[test]
    fn a_service_with_one_sentence_for_everything_means_units_by_it() {
        let told = json!({ "status": 409, "error": "Conflict", "timestamp": "2026-01-01T00:00:00Z" });
        assert_eq!(reason(&heard(&told, 409), &reservation(None), 409, &told), Reason::InsufficientAvailability);
    }

    #[test]
    fn a_repeat_under_a_key_that_met_its_first_is_told_to_come_again() {
        let told = json!({ "error": "Duplicate request" });
        assert_eq!(reason(&Dialect::default(), &reservation(Some("k")), 409, &told), Reason::Contention);
    }
}
