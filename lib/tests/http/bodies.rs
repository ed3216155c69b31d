//! Bodies read strictly and kept exactly: what is refused, and that what was accepted is answered digit for digit.

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::Api;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const ID: &str = "0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e";

/// Path, body, what is refused at which place.
#[rstest]
#[case::array("/v1/reservations", r#"["0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e", "c", 1]"#, &[""])]
#[case::array_of_an_item("/v1/items", r#"["Ticket", 5]"#, &[""])]
#[case::raw_value("/v1/items", r#"{"$serde_json::private::RawValue":"{\"name\":\"a\",\"initial_quantity\":1}"}"#,
    &["/name", "/initial_quantity", "/$serde_json::private::RawValue"])]
#[case::twice("/v1/items", r#"{"name":"a","name":"b","initial_quantity":1}"#, &["/name"])]
#[case::twice_in_other_letters("/v1/items", r#"{"name":"a","n\u0061me":"a","initial_quantity":1}"#, &["/name"])]
#[case::twice_in_metadata("/v1/items", r#"{"name":"a","initial_quantity":1,"metadata":{"b":{"c":1,"c":2}}}"#,
    &["/metadata"])]
#[tokio::test]
async fn a_body_that_means_two_things_is_refused(#[case] path: &str, #[case] body: &str, #[case] places: &[&str]) {
    let api = Api::new().await;
    let answer = api.send(Method::POST, path, &JSON, Some(body.into())).await;
    assert_eq!(
        (answer.status, answer.pointers()),
        (StatusCode::UNPROCESSABLE_ENTITY, places.to_vec()),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_member_given_twice_is_refused_where_a_reservation_is_made() {
    let api = Api::new().await;
    let body = format!(r#"{{"item_id":"{ID}","customer_id":"c","quantity":1,"quantity":2}}"#);
    let answer = api.send(Method::POST, "/v1/reservations", &JSON, Some(body.into())).await;
    assert_eq!((answer.status, answer.pointers()), (StatusCode::UNPROCESSABLE_ENTITY, vec!["/quantity"]));
}

#[rstest]
#[case(32, StatusCode::CREATED)]
#[case(33, StatusCode::UNPROCESSABLE_ENTITY)]
#[tokio::test]
async fn metadata_is_thirty_two_deep_at_most(#[case] depth: usize, #[case] status: StatusCode) {
    let api = Api::new().await;
    let metadata = format!("{}{{}}{}", r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1));
    let body = format!(r#"{{"name":"a","initial_quantity":1,"metadata":{metadata}}}"#);
    let answer = api.send(Method::POST, "/v1/items", &JSON, Some(body.into())).await;
    assert_eq!(answer.status, status);
}

#[derive(Deserialize)]
struct Kept {
    id: String,
    metadata: Box<RawValue>,
}

impl Api {
    /// The item that an answer shows, its metadata as text.
    async fn kept(&self, method: Method, path: &str, key: &str, body: Option<String>) -> (StatusCode, Kept) {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        let response = request.body(body.unwrap_or_default()).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status}: {error}: {text}")))
    }
}

/// Random JSON through HTTP and back: it is created, found again under its key, and read, each time digit for digit.
#[tokio::test]
async fn what_was_accepted_is_answered_as_it_came() {
    let api = Api::new().await;
    let mut random = fastrand::Rng::with_seed(9);
    let mut metadata: Vec<String> = (0..300).map(|_| object(&mut random, 5)).collect();
    metadata.push(r#"{"a":[1.7976931348623157e308,-0.0,1E400,12345678901234567890,0.1000,5e-324]}"#.to_owned());
    for (number, metadata) in metadata.into_iter().enumerate() {
        let body = format!(r#"{{"name":"a","initial_quantity":1,"metadata":{metadata}}}"#);
        let key = number.to_string();
        let (status, made) = api.kept(Method::POST, "/v1/items", &key, Some(body.clone())).await;
        assert_eq!(status, StatusCode::CREATED, "{metadata}");
        let (_, again) = api.kept(Method::POST, "/v1/items", &key, Some(body)).await;
        let (_, read) = api.kept(Method::GET, &format!("/v1/items/{}", made.id), &key, None).await;
        assert_eq!(again.id, made.id);
        for kept in [made, again, read] {
            assert_eq!(kept.metadata.get(), metadata);
        }
    }
}

/// An object in the form that is answered: members in order, no white space.
fn object(random: &mut fastrand::Rng, depth: usize) -> String {
    let members =
        (0..random.usize(0..4)).map(|place| format!("\"{place}{}\":{}", letters(random), value(random, depth)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn value(random: &mut fastrand::Rng, depth: usize) -> String {
    match random.u8(0..if depth == 0 { 5 } else { 7 }) {
        0 => ["null", "true", "false"][random.usize(0..3)].to_owned(),
        1 => format!("\"{}\"", letters(random)),
        2 => format!("{}{}", ["", "-"][random.usize(0..2)], random.u128(1..=u128::MAX)),
        // Every bit pattern that is a number, as Rust writes it, and with more digits than it has.
        3 => Some(f64::from_bits(random.u64(..)))
            .filter(|float| float.is_finite())
            .map_or("0".into(), |float| format!("{float:e}")),
        4 => format!("{}.{:09}0", random.i64(..), random.u32(0..1_000_000_000)),
        5 => object(random, depth - 1),
        _ => {
            let values = (0..random.usize(0..4)).map(|_| value(random, depth - 1));
            format!("[{}]", values.collect::<Vec<_>>().join(","))
        }
    }
}

fn letters(random: &mut fastrand::Rng) -> String {
    (0..random.usize(0..6))
        .map(|_| random.char(' '..))
        .filter(|letter| !['"', '\\', '\u{7f}'].contains(letter))
        .collect()
}

/// A JSON value in the form in which it is answered: members in order, no white space, no escape that need not be.
fn random_value(random: &mut fastrand::Rng, depth_left: usize) -> String {
    let kind = if depth_left == 0 { random.u8(0..4) } else { random.u8(0..6) };
    match kind {
        0 => ["null", "true", "false"][random.usize(0..3)].to_owned(),
        1 | 2 => random_number(random),
        3 => random_text(random),
        4 => {
            let values: Vec<_> = (0..random.usize(0..4)).map(|_| random_value(random, depth_left - 1)).collect();
            format!("[{}]", values.join(","))
        }
        _ => random_object(random, depth_left - 1),
    }
}

fn random_object(random: &mut fastrand::Rng, depth_left: usize) -> String {
    let names: std::collections::BTreeSet<String> =
        (0..random.usize(0..4)).map(|_| serde_json::from_str(&random_text(random)).unwrap()).collect();
    let members: Vec<_> = names
        .into_iter()
        .map(|name| format!("{}:{}", serde_json::to_string(&name).unwrap(), random_value(random, depth_left)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Digits beyond what a float or an integer of 64 bits keeps, and exponents near the end of a float's range.
fn random_number(random: &mut fastrand::Rng) -> String {
    let digits = |random: &mut fastrand::Rng| -> String {
        let length = random.usize(1..25);
        (0..length).map(|_| random.digit(10)).collect()
    };
    let mut number = if random.bool() { "-".to_owned() } else { String::new() };
    number.push(random.digit(9).max('1'));
    number.push_str(&digits(random));
    if random.bool() {
        number.push_str(&format!(".{}", digits(random)));
    }
    if random.bool() {
        number.push_str(&format!("e{}{}", ["", "+", "-"][random.usize(0..3)], random.u32(0..280)));
    }
    number
}

fn random_text(random: &mut fastrand::Rng) -> String {
    let letters = [
        "a",
        "Z",
        "\u{0}",
        "\u{1f}",
        "\"",
        "\\",
        "/",
        "é",
        "\u{2028}",
        "\u{1F600}",
        " ",
        "$serde_json::private::RawValue",
    ];
    let text: String = (0..random.usize(0..6)).map(|_| letters[random.usize(0..letters.len())]).collect();
    serde_json::to_string(&text).unwrap()
}

/// Metadata that was accepted is read as it was sent, digit for digit, and found again under its key. No call answers 5xx.
#[tokio::test]
async fn any_metadata_is_answered_as_it_was_sent() {
    let api = Api::new().await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for case in 0..300 {
        let metadata = random_object(&mut random, 5);
        let body = format!(r#"{{"name":"a","initial_quantity":1,"metadata":{metadata}}}"#);
        let headers = [JSON[0], ("idempotency-key", &*format!("case-{case}"))];
        let read = async |method: Method, path: &str, body: &str| {
            let mut request = api.client.request(method, format!("{}{path}", api.url)).body(body.to_owned());
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let response = request.send().await.unwrap();
            let status = response.status();
            let text = response.text().await.unwrap();
            assert!(status.is_success(), "seed {seed}, case {case}: {status} {text} for {metadata}");
            serde_json::from_str::<Kept>(&text).unwrap()
        };
        let created = read(Method::POST, "/v1/items", &body).await;
        let replayed = read(Method::POST, "/v1/items", &body).await;
        let found = read(Method::GET, &format!("/v1/items/{}", created.id), "").await;
        for kept in [&created, &replayed, &found] {
            assert_eq!(kept.id, created.id);
            assert_eq!(kept.metadata.get(), metadata, "seed {seed}, case {case}");
        }
    }
}
