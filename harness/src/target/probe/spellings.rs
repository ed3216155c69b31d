//! The spellings of a request that services usually take, the assignment's own first.

use crate::target::dialect::{Send, Unit};

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
    let camel = Send { item: "itemId".to_owned(), customer: "customerId".to_owned(), ..given.clone() };
    let named = if given.item == Send::default().item { vec![given.clone(), camel] } else { vec![given.clone()] };
    let typed = |send: &Send| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(text, number)| Send {
            item_as_text: given.item_as_text || text,
            customer_as_number: given.customer_as_number || number,
            ..send.clone()
        })
    };
    named.iter().flat_map(typed).collect()
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
];
