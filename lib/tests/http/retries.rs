//! The same call again: under a key, under another key, with another body.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::api::Api;

fn reservation(item_id: &str, quantity: i64) -> Value {
    json!({ "item_id": item_id, "customer_id": "customer", "quantity": quantity })
}

#[rstest]
#[case::bare("order-1", "order-1")]
#[case::bare_then_quoted("order-1", "\"order-1\"")]
#[case::escaped(r#""a\"b\\c""#, r#""a\"b\\c""#)]
#[case::longest(&KEY_255, &KEY_255)]
#[tokio::test]
async fn a_repeat_under_a_key_makes_nothing_and_tells_the_state_as_it_is_now(
    #[case] first_key: &str,
    #[case] key: &str,
) {
    let api = Api::new().await;
    let item = api.item(5).await;
    let first = api.post_under(first_key, "/v1/reservations", reservation(&item, 2)).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (StatusCode::CREATED, ""));
    for _ in 0..2 {
        let repeat = api.post_under(key, "/v1/reservations", reservation(&item, 2)).await;
        assert_eq!((repeat.status, repeat.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
        assert_eq!(repeat.header("location"), first.header("location"));
        assert_eq!(repeat.body, first.body);
    }
    let other = api.post_under(key, "/v1/reservations", reservation(&item, 1)).await;
    assert_eq!((other.status, other.code()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
    let confirmed = api.post(&format!("{}/confirm", first.header("location")), json!({})).await;
    let repeat = api.post_under(key, "/v1/reservations", reservation(&item, 2)).await;
    assert_eq!((repeat.status, &repeat.body), (StatusCode::CREATED, &confirmed.body));
    assert_eq!(api.get(&format!("/v1/items/{item}")).await.body["confirmed_quantity"], 2);
}

/// A client that repeats after the deadline must not believe in a hold that is gone.
#[tokio::test]
async fn a_repeat_after_the_deadline_is_told_that_the_hold_expired() {
    let api = Api::new().await;
    let item = api.item(5).await;
    let body = json!({ "item_id": item, "customer_id": "customer", "quantity": 2, "ttl_seconds": 0.05 });
    let first = api.post_under("order-1", "/v1/reservations", body.clone()).await;
    api.wait_until_lapsed(first.body["id"].as_str().unwrap()).await;
    let repeat = api.post_under("order-1", "/v1/reservations", body).await;
    assert_eq!((repeat.status, repeat.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
    assert_eq!((&repeat.body["id"], &repeat.body["status"]), (&first.body["id"], &json!("EXPIRED")));
}

static KEY_255: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "k".repeat(255));

#[tokio::test]
async fn keys_are_per_endpoint() {
    let api = Api::new().await;
    let new_item = json!({ "name": "Ticket", "initial_quantity": 5, "metadata": { "b": 1, "a": 2 } });
    let item = api.post_under("same", "/v1/items", new_item.clone()).await;
    let id = item.body["id"].as_str().unwrap();
    let held = api.post_under("same", "/v1/reservations", reservation(id, 1)).await;
    assert_eq!((held.status, held.header("idempotency-replayed")), (StatusCode::CREATED, ""));
    let repeat = api.post_under("same", "/v1/items", new_item).await;
    assert_eq!((repeat.status, repeat.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
    assert_eq!((&repeat.body["id"], &repeat.body["held_quantity"]), (&item.body["id"], &json!(1)));
}

#[tokio::test]
async fn a_key_that_met_a_refusal_may_succeed_later() {
    let api = Api::new().await;
    let item = api.item(2).await;
    let hold = api.hold(&item, 2, 600.0).await;
    let refused = api.post_under("k", "/v1/reservations", reservation(&item, 1)).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    api.post(&format!("/v1/reservations/{hold}/cancel"), json!({})).await;
    let accepted = api.post_under("k", "/v1/reservations", reservation(&item, 1)).await;
    assert_eq!((accepted.status, accepted.header("idempotency-replayed")), (StatusCode::CREATED, ""));
}

#[rstest]
#[case::empty("")]
#[case::blank_inside("a b")]
#[case::open_quote("\"a")]
#[case::quoted_blank("\"a b\"")]
#[case::behind_the_quote("\"a\"b")]
#[case::empty_quoted("\"\"")]
#[case::not_ascii("é")]
#[tokio::test]
async fn a_malformed_key_is_refused(#[case] key: &str) {
    let api = Api::new().await;
    for path in ["/v1/reservations", "/v1/items"] {
        let answer = api.post_under(key, path, json!({})).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "malformed_idempotency_key"));
    }
    let long = "k".repeat(256);
    let answer = api.post_under(&long, "/v1/items", json!({})).await;
    assert_eq!(answer.code(), "malformed_idempotency_key");
}

#[tokio::test]
async fn many_at_once_under_one_key_hold_once() {
    let api = Api::new().await;
    let item = api.item(50).await;
    let calls = (0..20).map(|_| api.post_under("k", "/v1/reservations", reservation(&item, 1)));
    let answers = futures::future::join_all(calls).await;
    let first = &answers[0].body["id"];
    assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED && answer.body["id"] == *first));
    let replayed = answers.iter().filter(|answer| answer.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 19);
    assert_eq!(api.get(&format!("/v1/items/{item}")).await.body["held_quantity"], 1);
}
