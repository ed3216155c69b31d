//! Strict validation: what is wrong, where, all at once; and hostile bodies.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::api::Api;

const ID: &str = "0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e";

fn reservation(name: &str, value: Value) -> Value {
    let mut body = json!({ "item_id": ID, "customer_id": "customer", "quantity": 1, "ttl_seconds": 60 });
    body[name] = value;
    body
}

#[rstest]
#[case("quantity", json!(0))]
#[case("quantity", json!(-1))]
#[case("quantity", json!(1_000_001))]
#[case("quantity", json!(1.5))]
#[case("quantity", json!(1e30))]
#[case("quantity", json!(9_223_372_036_854_775_808_u64))]
#[case("quantity", json!("1"))]
#[case("quantity", json!(true))]
#[case("quantity", Value::Null)]
#[case("quantity", json!([1]))]
#[case("customer_id", json!(""))]
#[case("customer_id", json!(" \t\n\u{a0}"))]
#[case("customer_id", json!("a\u{0}b"))]
#[case("customer_id", json!("ü".repeat(201)))]
#[case("customer_id", json!(7))]
#[case("item_id", json!("7"))]
#[case("item_id", json!(7))]
#[case("ttl_seconds", json!(0))]
#[case("ttl_seconds", json!(0.009))]
#[case("ttl_seconds", json!(2_592_000.1))]
#[case("ttl_seconds", json!(-1))]
#[case("ttl_seconds", json!("60"))]
#[case("nonsense", json!(1))]
#[tokio::test]
async fn a_reservation_is_validated(#[case] name: &str, #[case] value: Value) {
    let api = Api::new().await;
    let answer = api.post("/v1/reservations", reservation(name, value)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::UNPROCESSABLE_ENTITY, "validation_failed"));
    assert_eq!(answer.pointers(), [format!("/{name}")]);
}

#[rstest]
#[case(reservation("quantity", json!("1")), "/quantity: invalid type: string \"1\", expected an integer")]
#[case(reservation("ttl_seconds", json!("1")), "/ttl_seconds: invalid type: string \"1\", expected a number")]
#[case(json!([]), "The body must be an object.")]
#[tokio::test]
async fn what_is_wrong_is_said_without_the_words_of_a_language(#[case] body: Value, #[case] detail: &str) {
    let api = Api::new().await;
    assert_eq!(api.post("/v1/reservations", body).await.body["detail"], detail);
}

#[rstest]
#[case("quantity", json!(1_000_000))]
#[case("customer_id", json!("ü".repeat(200)))]
#[case("customer_id", json!("'; drop table stockhold.items; -- \\ $1 \" \u{1F600}"))]
#[case("ttl_seconds", json!(0.01))]
#[case("ttl_seconds", json!(2_592_000))]
#[case("ttl_seconds", Value::Null)]
#[tokio::test]
async fn limits_are_inside(#[case] name: &str, #[case] value: Value) {
    let api = Api::new().await;
    let item = api.item(1_000_000_000).await;
    let mut body = reservation(name, value.clone());
    body["item_id"] = json!(item);
    let answer = api.post("/v1/reservations", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    if name != "ttl_seconds" {
        assert_eq!(answer.body[name], value);
    }
}

#[rstest]
#[case(json!({}), &["/name", "/initial_quantity"])]
#[case(json!({ "name": "", "initial_quantity": 0, "sku": "", "metadata": [], "x/y~z": 1 }),
    &["/name", "/initial_quantity", "/sku", "/metadata", "/x~1y~0z"])]
#[case(json!({ "name": "a", "initial_quantity": 1_000_000_001 }), &["/initial_quantity"])]
#[case(json!({ "name": "a", "initial_quantity": 1, "metadata": { "a": "b".repeat(16_384) } }), &["/metadata"])]
#[case(json!([]), &[""])]
#[case(json!("text"), &[""])]
#[case(Value::Null, &[""])]
#[tokio::test]
async fn an_item_is_validated_as_a_whole(#[case] body: Value, #[case] pointers: &[&str]) {
    let api = Api::new().await;
    let answer = api.post("/v1/items", body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.pointers(), pointers);
}

#[rstest]
#[case("/v1/maintenance/expire-reservations", json!({ "limit": 0 }), "/limit")]
#[case("/v1/maintenance/expire-reservations", json!({ "limit": 10_001 }), "/limit")]
#[case("/v1/maintenance/expire-reservations", json!({ "limits": 1 }), "/limits")]
#[case("/v1/reservations/0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e/confirm", json!({ "if_expired": "x" }), "/if_expired")]
#[case("/v1/reservations/0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e/cancel", json!({ "reason": "x" }), "/reason")]
#[tokio::test]
async fn optional_bodies_are_validated_too(#[case] path: &str, #[case] body: Value, #[case] pointer: &str) {
    let api = Api::new().await;
    let answer = api.post(path, body).await;
    assert_eq!((answer.status, answer.pointers()), (StatusCode::UNPROCESSABLE_ENTITY, vec![pointer]));
}

#[rstest]
#[case("limit=0", StatusCode::UNPROCESSABLE_ENTITY, "validation_failed")]
#[case("limit=101", StatusCode::UNPROCESSABLE_ENTITY, "validation_failed")]
#[case("limit=x", StatusCode::UNPROCESSABLE_ENTITY, "validation_failed")]
#[case("limit=1&limit=2", StatusCode::UNPROCESSABLE_ENTITY, "validation_failed")]
#[case("x-vercel-id=1", StatusCode::OK, "")]
#[case("page=2", StatusCode::UNPROCESSABLE_ENTITY, "validation_failed")]
#[case("cursor=x", StatusCode::BAD_REQUEST, "malformed_cursor")]
#[case("cursor=", StatusCode::BAD_REQUEST, "malformed_cursor")]
#[tokio::test]
async fn a_page_is_validated(#[case] query: &str, #[case] status: StatusCode, #[case] code: &str) {
    let api = Api::new().await;
    let item = api.item(5).await;
    let answer = api.get(&format!("/v1/items/{item}/ledger?{query}")).await;
    assert_eq!((answer.status, answer.code()), (status, code));
}

#[rstest]
#[case::not_json(b"{".to_vec())]
#[case::two_values(b"{}{}".to_vec())]
#[case::not_utf8(b"{\"name\":\"\xff\"}".to_vec())]
#[case::lone_surrogate(br#"{"name":"\ud800","initial_quantity":1}"#.to_vec())]
#[case::lone_surrogate_in_metadata(br#"{"name":"a","initial_quantity":1,"metadata":{"b":"\ud83d"}}"#.to_vec())]
#[case::empty(Vec::new())]
#[case::too_deep("[".repeat(10_000).into_bytes())]
#[case::number_too_large(br#"{"name":"a","initial_quantity":1e999}"#.to_vec())]
#[tokio::test]
async fn a_body_that_is_not_json_is_malformed(#[case] body: Vec<u8>) {
    let api = Api::new().await;
    let headers = [("content-type", "application/json; charset=utf-8")];
    let answer = api.send(Method::POST, "/v1/items", &headers, Some(body)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "malformed_json"));
}

#[tokio::test]
async fn a_body_has_a_type_and_a_size() {
    let api = Api::new().await;
    let body = |length: usize| {
        let mut body = br#"{"name":"a","initial_quantity":1}"#.to_vec();
        body.resize(length, b' ');
        Some(body)
    };
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let answer = api.send(Method::POST, "/v1/items", &[("content-type", media_type)], body(40)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"));
    }
    let json = [("content-type", "Application/JSON")];
    assert_eq!(api.send(Method::POST, "/v1/items", &json, body(65_536)).await.status, StatusCode::CREATED);
    let answer = api.send(Method::POST, "/v1/items", &json, body(65_537)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));

    // Without a length, the body is counted as it comes.
    let chunks = (0..70).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1_000]));
    let request = api.client.post(format!("{}/v1/items", api.url)).header("content-type", "application/json");
    let response = request.body(reqwest::Body::wrap_stream(futures::stream::iter(chunks))).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
