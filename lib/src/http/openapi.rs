//! The OpenAPI document, built from the route table, the types that serve the requests and the table of problems.

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use okapi::Map;
use okapi::openapi3::{
    Components, Example, ExampleValue, Header, Info, License, MediaType, OpenApi, Operation, Parameter, ParameterValue,
    PathItem, RefOr, RequestBody, Response, SchemaObject, SecurityRequirement, SecurityScheme, SecuritySchemeData,
    Server, Tag,
};
use schemars::JsonSchema;
use schemars::r#gen::{SchemaGenerator, SchemaSettings};
use serde_json::{Value, json};

use super::endpoints::{HealthBody, LedgerPageBody};
use super::problem::{Code, FieldError, Problem, ProblemBody};
use super::request::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX};
use super::routes::{AccessRule, ROUTES, Route};
use crate::item::{Item, ItemStatus};
use crate::ledger::Audit;
use crate::ops::confirm::ConfirmOptions;
use crate::ops::create_item::NewItem;
use crate::ops::expire::{Expire, ExpireOptions};
use crate::ops::reserve::NewReservation;
use crate::reservation::Reservation;

const ITEM_ID: &str = "0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e";
const RESERVATION_ID: &str = "0197f3a0-6f20-7d11-8e4f-0b7c9a3d2e1f";

pub(super) async fn serve() -> HttpResponse {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default());
    let content_type = HeaderValue::from_static("application/json");
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], BYTES.as_slice()).into_response()
}

/// The document.
pub fn document() -> OpenApi {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut paths: Map<String, PathItem> = Map::new();
    for route in ROUTES {
        let item = paths.entry(route.path.to_owned()).or_default();
        for method in route.methods {
            let mut operation = describe(route, &mut generator);
            if *method == "GET" && route.methods.len() > 1 {
                operation.operation_id = Some(format!("{}_by_cron", route.operation));
                operation.request_body = None;
                operation.description =
                    Some("The same for a scheduler that can only GET; answered where CRON_SECRET is set.".to_owned());
            }
            match *method {
                "POST" => item.post = Some(operation),
                _ => item.get = Some(operation),
            }
        }
    }
    let schemas = generator.take_definitions().into_iter().map(|(name, schema)| (name, schema.into_object()));
    let bearer = SecurityScheme {
        description: Some("One of API_KEYS; for maintenance, CRON_SECRET too. Not needed where they are unset.".into()),
        data: SecuritySchemeData::Http { scheme: "bearer".to_owned(), bearer_format: None },
        extensions: Map::new(),
    };
    OpenApi {
        openapi: OpenApi::default_version(),
        info: Info {
            title: "Stockhold".to_owned(),
            description: Some(
                "Inventory reservations that never oversell: `confirmed + active pending unexpired <= total` at every \
                 committed state. Refusals are problem details (RFC 9457); `code` is the word to test."
                    .to_owned(),
            ),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            license: Some(License { name: "MIT".to_owned(), ..License::default() }),
            ..Info::default()
        },
        servers: vec![Server { url: "/".to_owned(), ..Server::default() }],
        paths,
        components: Some(Components {
            schemas: schemas.collect(),
            security_schemes: Map::from_iter([("bearer".to_owned(), bearer.into())]),
            ..Components::default()
        }),
        tags: ["items", "reservations", "maintenance", "service"]
            .map(|name| Tag { name: name.to_owned(), ..Tag::default() })
            .to_vec(),
        ..OpenApi::default()
    }
}

/// One route's operation.
fn describe(route: &Route, generator: &mut SchemaGenerator) -> Operation {
    let call = Description::new(route, generator);
    match route.operation {
        "create_item" => call
            .summary("items", "Create an item with its units")
            .idempotency_key()
            .body::<NewItem>(true, json!({ "name": "Front row", "initial_quantity": 50, "sku": "FR-1" }))
            .answers::<Item>(StatusCode::CREATED, item_example()),
        "get_item" => call
            .summary("items", "Read one item: total, available, held, confirmed")
            .id("The item's id.", ITEM_ID)
            .answers::<ItemStatus>(StatusCode::OK, with(item_example(), "as_of", json!("2026-01-02T03:04:06Z")))
            .refuses(Code::ItemNotFound),
        "reserve" => call
            .summary("reservations", "Hold units of one item for a customer until a deadline")
            .idempotency_key()
            .body::<NewReservation>(
                true,
                json!({ "item_id": ITEM_ID, "customer_id": "customer-7", "quantity": 2, "ttl_seconds": 300 }),
            )
            .answers::<Reservation>(StatusCode::CREATED, reservation_example("PENDING", None))
            .refuses(Code::ItemNotFound)
            .refuses(Code::InsufficientAvailability),
        "confirm" => call
            .summary("reservations", "Deduct a held reservation's units for good; safe to repeat")
            .id("The reservation's id.", RESERVATION_ID)
            .body::<ConfirmOptions>(false, json!({ "if_expired": "reacquire" }))
            .answers::<Reservation>(StatusCode::OK, reservation_example("CONFIRMED", Some("confirmed_at")))
            .refuses(Code::ReservationNotFound)
            .refuses(Code::ReservationExpired)
            .refuses(Code::ReservationCancelled),
        "cancel" => call
            .summary("reservations", "Give a held reservation's units back; safe to repeat")
            .id("The reservation's id.", RESERVATION_ID)
            .refuses_wrong_bodies()
            .answers::<Reservation>(StatusCode::OK, reservation_example("CANCELLED", Some("cancelled_at")))
            .refuses(Code::ReservationNotFound)
            .refuses(Code::ReservationConfirmed)
            .refuses(Code::ReservationExpired),
        "expire" => call
            .summary("maintenance", "Record lapsed holds as EXPIRED and give their units back; safe to repeat")
            .body::<ExpireOptions>(false, json!({ "limit": 1000 }))
            .answers::<Expire>(StatusCode::OK, json!({ "expired_count": 3, "released_quantity": 5, "has_more": false }))
            .refuses(Code::MethodNotAllowed),
        "get_reservation" => call
            .summary("reservations", "Read one reservation; a lapsed hold reads EXPIRED, recorded or not")
            .id("The reservation's id.", RESERVATION_ID)
            .answers::<Reservation>(StatusCode::OK, reservation_example("PENDING", None))
            .refuses(Code::ReservationNotFound),
        "get_ledger" => call
            .summary("items", "Read an item's history in version order, a page at a time")
            .id("The item's id.", ITEM_ID)
            .page()
            .answers::<LedgerPageBody>(StatusCode::OK, ledger_page_example())
            .refuses(Code::ItemNotFound),
        "audit" => call
            .summary("items", "Compare an item's counters with its reservations and its ledger, from one snapshot")
            .id("The item's id.", ITEM_ID)
            .answers::<Audit>(StatusCode::OK, audit_example())
            .refuses(Code::ItemNotFound),
        "health" => call.summary("service", "Ask whether the service and its database are up").answers::<HealthBody>(
            StatusCode::OK,
            json!({ "status": "ok", "migration_version": 1, "round_trip_ms": 0.4 }),
        ),
        "openapi" => call.summary("service", "This document").answers_media(
            "application/json",
            generator_free_object(),
            json!({ "openapi": "3.0.0" }),
        ),
        _ => call.summary("service", "Swagger UI").answers_media(
            "text/html",
            generator_free_string(),
            json!("<!doctype html>"),
        ),
    }
    .operation()
}

/// An operation in the making.
struct Description<'g> {
    generator: &'g mut SchemaGenerator,
    operation: Operation,
    codes: Vec<Code>,
}

impl<'g> Description<'g> {
    fn new(route: &Route, generator: &'g mut SchemaGenerator) -> Self {
        let mut codes = vec![Code::Internal];
        let mut operation = Operation { operation_id: Some(route.operation.to_owned()), ..Operation::default() };
        if route.path.starts_with("/v1/") {
            codes.push(Code::DatabaseUnavailable);
        }
        if route.access != AccessRule::Open {
            codes.extend([Code::Unauthenticated, Code::Overloaded]);
            operation.security = Some(vec![SecurityRequirement::from_iter([("bearer".to_owned(), Vec::new())])]);
        }
        Self { generator, operation, codes }
    }

    fn summary(mut self, tag: &str, summary: &str) -> Self {
        self.operation.tags = vec![tag.to_owned()];
        self.operation.summary = Some(summary.to_owned());
        self
    }

    fn id(self, description: &str, example: &str) -> Self {
        let schema = schema_object(json!({ "type": "string", "format": "uuid" }));
        self.refuses(Code::MalformedId).parameter("id", "path", true, description, schema, json!(example))
    }

    fn idempotency_key(self) -> Self {
        let schema = schema_object(json!({ "type": "string", "minLength": 1, "maxLength": 255 }));
        self.refuses(Code::MalformedIdempotencyKey).refuses(Code::IdempotencyKeyReused).parameter(
            "Idempotency-Key",
            "header",
            false,
            "A name for this call. The first success under it is the answer to every repeat, with \
             `Idempotency-Replayed: true`; a refusal stores nothing.",
            schema,
            json!("order-1234"),
        )
    }

    fn page(self) -> Self {
        let limit = schema_object(json!({
            "type": "integer", "minimum": 1, "maximum": PAGE_LIMIT_MAX, "default": PAGE_LIMIT_DEFAULT
        }));
        let cursor = schema_object(json!({ "type": "string" }));
        self.refuses(Code::MalformedCursor)
            .refuses(Code::ValidationFailed)
            .parameter("limit", "query", false, "Entries on a page at most.", limit, json!(PAGE_LIMIT_DEFAULT))
            .parameter("cursor", "query", false, "The next_cursor of the page before.", cursor, json!("v50"))
    }

    fn parameter(
        mut self,
        name: &str,
        location: &str,
        required: bool,
        description: &str,
        schema: SchemaObject,
        example: Value,
    ) -> Self {
        self.operation.parameters.push(
            Parameter {
                name: name.to_owned(),
                location: location.to_owned(),
                description: Some(description.to_owned()),
                required,
                deprecated: false,
                allow_empty_value: false,
                value: parameter_value(schema, Some(example)),
                extensions: Map::new(),
            }
            .into(),
        );
        self
    }

    fn body<T: JsonSchema>(mut self, required: bool, example: Value) -> Self {
        let media = MediaType {
            schema: Some(self.generator.subschema_for::<T>().into_object()),
            example: Some(example),
            ..MediaType::default()
        };
        let content = Map::from_iter([("application/json".to_owned(), media)]);
        self.operation.request_body = Some(RequestBody { content, required, ..RequestBody::default() }.into());
        self.refuses_wrong_bodies()
    }

    fn refuses_wrong_bodies(mut self) -> Self {
        self.codes.extend([
            Code::MalformedJson,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
            Code::ValidationFailed,
        ]);
        self
    }

    fn answers<T: JsonSchema>(mut self, status: StatusCode, example: Value) -> Self {
        let schema = self.generator.subschema_for::<T>().into_object();
        self.answer(status, "application/json", schema, example);
        self
    }

    fn answers_media(mut self, media_type: &str, schema: SchemaObject, example: Value) -> Self {
        self.answer(StatusCode::OK, media_type, schema, example);
        self
    }

    fn answer(&mut self, status: StatusCode, media_type: &str, schema: SchemaObject, example: Value) {
        let mut response = response(status, media_type, schema);
        for media in response.content.values_mut() {
            media.example = Some(example.clone());
        }
        if status == StatusCode::CREATED {
            let text = || schema_object(json!({ "type": "string" }));
            response.headers.insert("Location".to_owned(), described_header("Its path.", text()));
            response.headers.insert(
                "Idempotency-Replayed".to_owned(),
                described_header("`true` on a repeat under the same Idempotency-Key.", text()),
            );
        }
        self.operation.responses.responses.insert(status.as_u16().to_string(), response.into());
    }

    fn refuses(mut self, code: Code) -> Self {
        self.codes.push(code);
        self
    }

    fn operation(mut self) -> Operation {
        let schema = self.generator.subschema_for::<ProblemBody>().into_object();
        for code in &self.codes {
            let status = code.status();
            let entry = self.operation.responses.responses.entry(status.as_u16().to_string());
            let refusal = entry.or_insert_with(|| response(status, "application/problem+json", schema.clone()).into());
            let RefOr::Object(refusal) = refusal else { continue };
            for media in refusal.content.values_mut() {
                let example = Example {
                    summary: Some(code.title().to_owned()),
                    description: None,
                    value: ExampleValue::Value(problem_example(*code)),
                    extensions: Map::new(),
                };
                media.examples.get_or_insert_default().insert(code.word().to_owned(), example);
            }
        }
        for (status, refusal) in &mut self.operation.responses.responses {
            let RefOr::Object(refusal) = refusal else { continue };
            let text = || schema_object(json!({ "type": "string" }));
            let own = match status.as_str() {
                "401" => Some(("WWW-Authenticate", "`Bearer`.")),
                "405" => Some(("Allow", "The methods that this path answers.")),
                "503" => Some(("Retry-After", "Seconds to wait before the next try.")),
                _ => None,
            };
            if let Some((name, description)) = own {
                refusal.headers.insert(name.to_owned(), described_header(description, text()));
            }
            refusal.headers.insert("X-Request-Id".to_owned(), described_header("The request's id.", text()));
            refusal.headers.insert(
                "Server-Timing".to_owned(),
                described_header("Milliseconds spent: `db` on the database, `total` in all.", text()),
            );
        }
        self.operation
    }
}

fn response(status: StatusCode, media_type: &str, schema: SchemaObject) -> Response {
    let media = MediaType { schema: Some(schema), ..MediaType::default() };
    Response {
        description: status.canonical_reason().unwrap_or_default().to_owned(),
        content: Map::from_iter([(media_type.to_owned(), media)]),
        ..Response::default()
    }
}

fn described_header(description: &str, schema: SchemaObject) -> RefOr<Header> {
    Header {
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        allow_empty_value: false,
        value: parameter_value(schema, None),
        extensions: Map::new(),
    }
    .into()
}

fn parameter_value(schema: SchemaObject, example: Option<Value>) -> ParameterValue {
    ParameterValue::Schema { style: None, explode: None, allow_reserved: false, schema, example, examples: None }
}

fn schema_object(json: Value) -> SchemaObject {
    serde_json::from_value(json).unwrap_or_default()
}

fn generator_free_object() -> SchemaObject {
    schema_object(json!({ "type": "object" }))
}

fn generator_free_string() -> SchemaObject {
    schema_object(json!({ "type": "string" }))
}

fn problem_example(code: Code) -> Value {
    let problem = Problem::new(code, "What is wrong this time, and what to do.");
    let problem = match code {
        Code::InsufficientAvailability => problem.with("available_quantity", 1).with("requested_quantity", 2),
        Code::ReservationExpired => ended_example(problem, "EXPIRED"),
        Code::ReservationConfirmed => ended_example(problem, "CONFIRMED"),
        Code::ReservationCancelled => ended_example(problem, "CANCELLED"),
        Code::ValidationFailed => problem.with(
            "errors",
            [FieldError {
                pointer: "/quantity".to_owned(),
                detail: "must be an integer from 1 to 1000000, is 0".into(),
            }],
        ),
        Code::MalformedJson
        | Code::MalformedId
        | Code::MalformedCursor
        | Code::MalformedIdempotencyKey
        | Code::Unauthenticated
        | Code::ItemNotFound
        | Code::ReservationNotFound
        | Code::RouteNotFound
        | Code::MethodNotAllowed
        | Code::BodyTooLarge
        | Code::UnsupportedMediaType
        | Code::IdempotencyKeyReused
        | Code::Internal
        | Code::DatabaseUnavailable
        | Code::Overloaded => problem,
    };
    json!(problem.body("0197f3a0-7a00-7000-8000-000000000001"))
}

fn ended_example(problem: Problem, status: &str) -> Problem {
    problem.with("reservation_status", status).with("expires_at", "2026-01-02T03:14:05Z")
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn item_example() -> Value {
    json!({
        "id": ITEM_ID, "name": "Front row", "sku": "FR-1", "total_quantity": 50, "available_quantity": 50,
        "held_quantity": 0, "confirmed_quantity": 0, "version": 1, "metadata": {},
        "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z"
    })
}

fn reservation_example(status: &str, instant: Option<&str>) -> Value {
    let reservation = json!({
        "id": RESERVATION_ID, "item_id": ITEM_ID, "customer_id": "customer-7", "quantity": 2, "status": status,
        "basket_id": null, "created_at": "2026-01-02T03:04:05Z", "expires_at": "2026-01-02T03:14:05Z",
        "confirmed_at": null, "cancelled_at": null, "expired_at": null
    });
    match instant {
        Some(name) => with(reservation, name, json!("2026-01-02T03:05:00Z")),
        None => reservation,
    }
}

fn ledger_page_example() -> Value {
    json!({
        "entries": [{
            "item_id": ITEM_ID, "version": 2, "reservation_id": RESERVATION_ID, "kind": "RESERVED", "quantity": 2,
            "total_quantity": 50, "held_quantity": 2, "confirmed_quantity": 0, "recorded_at": "2026-01-02T03:04:05Z"
        }],
        "next_cursor": null
    })
}

fn audit_example() -> Value {
    let counters = json!({ "total_quantity": 50, "held_quantity": 2, "confirmed_quantity": 0, "version": 2 });
    json!({
        "item_id": ITEM_ID, "consistent": true, "findings": [], "counters": counters,
        "reservations": { "held_quantity": 2, "lapsed_quantity": 0, "confirmed_quantity": 0 },
        "ledger": counters, "as_of": "2026-01-02T03:04:06Z"
    })
}
