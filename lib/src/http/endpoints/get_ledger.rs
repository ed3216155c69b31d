//! `GET /v1/items/{id}/ledger`

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::get;
use serde::Serialize;
use serde_json::json;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::{Id, Query};
use crate::http::service::Service;
use crate::ledger::{Kind, LedgerEntry};
use crate::ops::get_ledger::LedgerQuery;

/// Entries on a page: the default, and the most.
const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 100;

/// Read one item's history.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "get_ledger",
    methods: &["GET"],
    path: "/v1/items/{id}/ledger",
    access: AccessRule::ApiKey,
    function: Function::Shared,
    summary: "Read an item's history in version order, a page at a time",
    handlers: || get(get_ledger),
    describe: Some(|call| {
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT });
        let cursor = json!({ "type": "string", "pattern": "^v[0-9]{1,18}$" });
        let entry = LedgerEntry {
            item_id: example::ITEM_ID,
            version: 2,
            reservation_id: Some(example::RESERVATION_ID),
            kind: Kind::Reserved,
            quantity: 2,
            total_quantity: 50,
            held_quantity: 2,
            confirmed_quantity: 0,
            recorded_at: example::instant(0),
        };
        call.id("The item's id.", example::ITEM_ID)
            .query("limit", "Entries on a page at most.", limit, LIMIT_DEFAULT)
            .query("cursor", "The next_cursor of the page before.", cursor, "v50")
            .answers::<LedgerPage>(StatusCode::OK, LedgerPage { entries: vec![entry], next_cursor: None })
            .refuses([Code::ItemNotFound, Code::MalformedCursor])
    }),
};

/// A page of a ledger, as it is answered.
#[derive(Serialize, schemars::JsonSchema)]
struct LedgerPage {
    /// In version order.
    entries: Vec<LedgerEntry>,
    /// What to send as `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
}

async fn get_ledger(State(service): State<Service>, Id(item_id): Id, Page(query): Page) -> Answer {
    let page = service.inventory.get_ledger(item_id, query).await?.ok_or_else(Problem::item_not_found)?;
    ok(&LedgerPage { entries: page.entries, next_cursor: page.next_after_version.map(write_cursor) })
}

/// `limit` and `cursor`.
struct Page(LedgerQuery);

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Query::of(parts);
        let entry_count_max = query.integer("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
        let cursor = query.take("cursor");
        query.end()?;
        let after_version = cursor.as_deref().map(read_cursor).transpose()?.unwrap_or(0);
        Ok(Self(LedgerQuery { after_version, entry_count_max }))
    }
}

/// A cursor names the last version of the page before.
fn write_cursor(version: i64) -> String {
    format!("v{version}")
}

fn read_cursor(cursor: &str) -> Result<i64, Problem> {
    let digits = cursor.strip_prefix('v').filter(|digits| (1..=18).contains(&digits.len()));
    digits
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Problem::new(Code::MalformedCursor, "Use the next_cursor of the page before, unchanged."))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::first("v0", Some(0))]
    #[case::later("v42", Some(42))]
    #[case::negative("v-1", None)]
    #[case::signed("v+1", None)]
    #[case::bare("42", None)]
    #[case::empty("", None)]
    #[case::huge("v99999999999999999999", None)]
    fn a_cursor_is_read_as_it_was_written(#[case] cursor: &str, #[case] version: Option<i64>) {
        assert_eq!(read_cursor(cursor).ok(), version);
    }
}
