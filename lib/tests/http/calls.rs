//! The endpoints, one by one and in a shop's order.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use stockhold::http::Access;
use uuid::Uuid;

use super::api::Api;

#[tokio::test]
async fn a_shop_sells_its_last_unit_once() {
    let api = Api::new().await;
    let answer = api.post("/v1/items", json!({ "name": "Ticket", "initial_quantity": 5, "sku": "T-1" })).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let item = format!("/v1/items/{}", answer.body["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), item);
    assert_eq!(answer.body["available_quantity"], 5);

    let item_id = answer.body["id"].as_str().unwrap().to_owned();
    let first = api.hold(&item_id, 3, 600.0).await;
    let second = api.hold(&item_id, 2, 600.0).await;
    let refused =
        api.post("/v1/reservations", json!({ "item_id": item_id, "customer_id": "late", "quantity": 1 })).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "insufficient_availability"));
    assert_eq!((&refused.body["available_quantity"], &refused.body["requested_quantity"]), (&json!(0), &json!(1)));

    let confirmed = api.post(&format!("/v1/reservations/{first}/confirm"), json!({})).await;
    assert_eq!((confirmed.status, &confirmed.body["status"]), (StatusCode::OK, &json!("CONFIRMED")));
    let again = api.send(Method::POST, &format!("/v1/reservations/{first}/confirm"), &[], None).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &confirmed.body));
    let cancelled = api.send(Method::POST, &format!("/v1/reservations/{second}/cancel"), &[], None).await;
    assert_eq!((cancelled.status, &cancelled.body["status"]), (StatusCode::OK, &json!("CANCELLED")));
    let again = api.send(Method::POST, &format!("/v1/reservations/{second}/cancel"), &[], None).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &cancelled.body));

    let late = api.send(Method::POST, &format!("/v1/reservations/{first}/cancel"), &[], None).await;
    assert_eq!((late.status, late.code()), (StatusCode::CONFLICT, "reservation_confirmed"));
    assert_eq!(late.body["reservation_status"], "CONFIRMED");
    let late = api.send(Method::POST, &format!("/v1/reservations/{second}/confirm"), &[], None).await;
    assert_eq!((late.status, late.code()), (StatusCode::CONFLICT, "reservation_cancelled"));

    let status = api.get(&item).await.body;
    assert_eq!((&status["available_quantity"], &status["confirmed_quantity"]), (&json!(2), &json!(3)));
    assert!(status["as_of"].is_string());
    let reservation = api.get(&format!("/v1/reservations/{first}")).await.body;
    assert_eq!(reservation, confirmed.body);
    let ledger = api.get(&format!("{item}/ledger?limit=3")).await.body;
    assert_eq!(ledger["entries"].as_array().unwrap().len(), 3);
    let cursor = ledger["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("{item}/ledger?limit=3&cursor={cursor}")).await.body;
    assert_eq!((rest["entries"][0]["version"].as_i64(), &rest["next_cursor"]), (Some(4), &Value::Null));
    let audit = api.get(&format!("{item}/audit")).await.body;
    assert_eq!((&audit["consistent"], &audit["findings"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn a_lapsed_hold_is_refused_and_swept() {
    let api = Api::new().await;
    let item = api.item(5).await;
    let hold = api.hold(&item, 3, 0.05).await;
    api.wait_until_lapsed(&hold).await;
    assert_eq!(api.get(&format!("/v1/reservations/{hold}")).await.body["status"], "EXPIRED");
    assert_eq!(api.get(&format!("/v1/items/{item}")).await.body["available_quantity"], 5);
    let swept = api.send(Method::POST, "/v1/maintenance/expire-reservations", &[], None).await;
    assert_eq!(swept.body, json!({ "expired_count": 1, "released_quantity": 3, "has_more": false }));
    for verb in ["confirm", "cancel"] {
        let late = api.send(Method::POST, &format!("/v1/reservations/{hold}/{verb}"), &[], None).await;
        assert_eq!((late.status, late.code()), (StatusCode::CONFLICT, "reservation_expired"));
        assert_eq!(late.body["reservation_status"], "EXPIRED");
        assert!(late.body["expires_at"].is_string());
    }
    let honoured = api.post(&format!("/v1/reservations/{hold}/confirm"), json!({ "if_expired": "reacquire" })).await;
    assert_eq!((honoured.status, &honoured.body["status"]), (StatusCode::OK, &json!("CONFIRMED")));
}

#[tokio::test]
async fn a_late_payment_is_refused_when_the_units_are_gone() {
    let api = Api::new().await;
    let item = api.item(5).await;
    let hold = api.hold(&item, 3, 0.05).await;
    api.wait_until_lapsed(&hold).await;
    api.hold(&item, 4, 600.0).await;
    let late = api.post(&format!("/v1/reservations/{hold}/confirm"), json!({ "if_expired": "reacquire" })).await;
    assert_eq!((late.status, late.code()), (StatusCode::CONFLICT, "reservation_expired"));
    assert_eq!((&late.body["available_quantity"], &late.body["requested_quantity"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn sold_units_come_back_once_under_a_key_and_never_more_than_were_sold() {
    let api = Api::new().await;
    let item = api.item(5).await;
    let sale = api.hold(&item, 5, 600.0).await;
    let path = format!("/v1/reservations/{sale}/return");
    let early = api.post(&path, json!({ "quantity": 1 })).await;
    assert_eq!((early.status, early.code()), (StatusCode::CONFLICT, "reservation_not_confirmed"));
    assert_eq!(early.body["reservation_status"], "PENDING");
    api.post(&format!("/v1/reservations/{sale}/confirm"), json!({})).await;
    for replayed in ["", "true"] {
        let back = api.post_under("parcel-1", &path, json!({ "quantity": 2 })).await;
        assert_eq!((back.status, back.header("idempotency-replayed")), (StatusCode::OK, replayed));
        assert_eq!((&back.body["confirmed_quantity"], &back.body["returned_quantity"]), (&json!(5), &json!(2)));
        assert_eq!(back.body["status"], "CONFIRMED");
    }
    let other = api.post_under("parcel-1", &path, json!({ "quantity": 1 })).await;
    assert_eq!((other.status, other.code()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
    let more = api.post(&path, json!({ "quantity": 4 })).await;
    assert_eq!((more.status, more.code()), (StatusCode::CONFLICT, "return_exceeds_confirmed"));
    let facts = ["requested_quantity", "confirmed_quantity", "returned_quantity"].map(|name| more.body[name].as_i64());
    assert_eq!(facts, [Some(4), Some(5), Some(2)]);
    let none = api.post(&path, json!({})).await;
    assert_eq!((none.status, none.pointers()), (StatusCode::UNPROCESSABLE_ENTITY, vec!["/quantity"]));
    let status = api.get(&format!("/v1/items/{item}")).await.body;
    assert_eq!((&status["available_quantity"], &status["confirmed_quantity"]), (&json!(2), &json!(3)));
    assert_eq!(api.get(&format!("/v1/items/{item}/audit")).await.body["consistent"], true);
}

#[rstest]
#[case(Method::GET, "/v1/items/ID", "item_not_found")]
#[case(Method::GET, "/v1/items/ID/ledger", "item_not_found")]
#[case(Method::GET, "/v1/items/ID/audit", "item_not_found")]
#[case(Method::GET, "/v1/reservations/ID", "reservation_not_found")]
#[case(Method::POST, "/v1/reservations/ID/confirm", "reservation_not_found")]
#[case(Method::POST, "/v1/reservations/ID/cancel", "reservation_not_found")]
#[tokio::test]
async fn an_unknown_id_is_not_found_and_a_malformed_one_is_malformed(
    #[case] method: Method,
    #[case] path: &str,
    #[case] code: &str,
) {
    let api = Api::new().await;
    let unknown = path.replace("ID", &Uuid::now_v7().to_string());
    let answer = api.send(method.clone(), &unknown, &[], None).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, code));
    for id in ["7", "0197f3a05b1c7cc29d3e6a1f0c2b4d5e", "%00", "%ff", "0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5"] {
        let answer = api.send(method.clone(), &path.replace("ID", id), &[], None).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "malformed_id"), "{id}");
    }
}

#[tokio::test]
async fn reserve_of_an_unknown_item_is_not_found() {
    let api = Api::new().await;
    let body = json!({ "item_id": Uuid::now_v7(), "customer_id": "customer", "quantity": 1 });
    let answer = api.post("/v1/reservations", body).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "item_not_found"));
}

#[tokio::test]
async fn other_paths_and_methods_get_404_and_405() {
    let api = Api::new().await;
    for path in ["/", "/v1", "/v1/items/", "/v1/nothing", "/docs/nothing.js", "/docs/index.html"] {
        let answer = api.get(path).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "route_not_found"), "{path}");
    }
    for (method, path, allow) in [
        (Method::DELETE, "/v1/items", "POST"),
        (Method::PUT, "/v1/items/7", "GET, HEAD"),
        (Method::GET, "/v1/reservations/7/confirm", "POST"),
        (Method::GET, "/v1/maintenance/expire-reservations", "POST"),
    ] {
        let answer = api.send(method, path, &[], None).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"), "{path}");
        assert_eq!(answer.headers.get_all("allow").iter().count(), 1, "{path}");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
    let head = api.send(Method::HEAD, "/v1/maintenance/expire-reservations", &[], None).await;
    assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED, "HEAD would sweep");
}

#[tokio::test]
async fn a_call_needs_a_key_where_there_are_keys() {
    let api = Api::with_access(Access::new("one,two", "sweep")).await;
    let sweep = "/v1/maintenance/expire-reservations";
    let refused = api.get("/v1/items/7").await;
    assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    let refused = api.send(Method::POST, "/v1/items", &[("authorization", "Bearer three")], None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "before the body is looked at");
    let refused = api.send(Method::POST, sweep, &[], None).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let accepted = api.send(Method::GET, "/v1/items/7", &[("authorization", "Bearer two")], None).await;
    assert_eq!(accepted.code(), "malformed_id");
    for (method, token) in [(Method::GET, "sweep"), (Method::POST, "sweep"), (Method::POST, "one")] {
        let authorization = format!("Bearer {token}");
        let accepted = api.send(method, sweep, &[("authorization", &authorization)], None).await;
        assert_eq!(accepted.status, StatusCode::OK);
    }
    for path in ["/v1/health", "/openapi.json", "/docs"] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn health_tells_the_migration_and_the_round_trip() {
    let api = Api::new().await;
    let health = api.get("/v1/health").await.body;
    assert_eq!((&health["status"], &health["migration_version"]), (&json!("ok"), &json!(1)));
    assert!(health["round_trip_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn without_a_database_every_call_is_503_and_says_when_to_try_again() {
    let api = Api::new().await;
    // The database goes away while the service stays.
    let mut admin = api.fixture.connection().await;
    let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(&mut admin).await.unwrap();
    drop(admin);
    let admin_url = crate::common::admin_url();
    let mut admin = <sqlx::PgConnection as sqlx::Connection>::connect(&admin_url).await.unwrap();
    crate::common::run(&mut admin, &format!("drop database {name} with (force)")).await;
    for answer in [api.get("/v1/health").await, api.get(&format!("/v1/items/{}", Uuid::now_v7())).await] {
        assert_eq!((answer.status, answer.code()), (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"));
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.body.to_string().contains("stockhold_test"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_broken_schema_is_a_500_without_a_cause() {
    let api = Api::new().await;
    crate::common::run(&mut api.fixture.connection().await, "drop table stockhold.ledger cascade").await;
    let answer = api.post("/v1/items", json!({ "name": "Ticket", "initial_quantity": 5 })).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    assert!(!answer.body.to_string().contains("ledger"), "{}", answer.body);
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_its_timing() {
    let api = Api::new().await;
    let answer = api.send(Method::GET, "/v1/health", &[("x-request-id", "mine-1")], None).await;
    assert_eq!(answer.header("x-request-id"), "mine-1");
    let answer = api.send(Method::GET, "/v1/health", &[("x-request-id", "<script>")], None).await;
    assert_eq!(Uuid::parse_str(answer.header("x-request-id")).unwrap().get_version_num(), 7);
    let long = "x".repeat(129);
    let answer = api.send(Method::GET, "/v1/health", &[("x-request-id", &long)], None).await;
    assert_ne!(answer.header("x-request-id"), long);
}

/// A caller that hangs up leaves neither a connection behind nor a half-made hold.
#[tokio::test]
async fn callers_that_hang_up_take_no_connections_with_them() {
    let api = Api::new().await;
    let item = api.item(100).await;
    let mut gate = crate::common::Gate::close_item(&api.fixture, item.parse().unwrap()).await;
    let body = json!({ "item_id": item, "customer_id": "customer", "quantity": 1 });
    for _ in 0..30 {
        let call = api.post("/v1/reservations", body.clone());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), call).await.is_err(), "it waits");
    }
    let sql =
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'stockhold'";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut api.fixture.connection().await).await.unwrap();
    assert!(count <= 10, "{count} connections");
    gate.run("select 1").await;
    gate.open().await;
    api.fixture.check_books(item.parse().unwrap()).await;
}
