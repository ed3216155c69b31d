//! `GET /v1/items/{id}/audit`

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::http::access::AccessRule;
use crate::http::answer::{Answer, ok};
use crate::http::endpoint::{Endpoint, Function};
use crate::http::example;
use crate::http::problem::{Code, Problem};
use crate::http::request::Id;
use crate::http::service::Service;
use crate::ledger::{Audit, AuditedCounters, AuditedReservations};

/// Compare one item's books.
pub static ENDPOINT: Endpoint = Endpoint {
    operation: "audit",
    methods: &["GET"],
    path: "/v1/items/{id}/audit",
    access: AccessRule::ApiKey,
    function: Function::Shared,
    summary: "Compare an item's counters with its reservations and its ledger, from one snapshot",
    handlers: || get(audit),
    describe: Some(|call| {
        let counters = AuditedCounters { total_quantity: 50, held_quantity: 2, confirmed_quantity: 0, version: 2 };
        let example = Audit {
            item_id: example::ITEM_ID,
            consistent: true,
            findings: Vec::new(),
            counters: counters.clone(),
            reservations: AuditedReservations { held_quantity: 2, lapsed_quantity: 0, confirmed_quantity: 0 },
            ledger: counters,
            as_of: example::instant(1),
        };
        call.id("The item's id.", example::ITEM_ID)
            .answers::<Audit>(StatusCode::OK, example)
            .refuses([Code::ItemNotFound])
    }),
};

async fn audit(State(service): State<Service>, Id(item_id): Id) -> Answer {
    ok(&service.inventory.audit(item_id).await?.ok_or_else(Problem::item_not_found)?)
}
