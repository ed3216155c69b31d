//! The OpenAPI document and its page.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::Value;
use stockhold::http::Access;
use stockhold::http::endpoints::ENDPOINTS;

use super::api::{Api, DOCUMENT, document};

/// `METHOD path operation` for every operation of a document.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| {
            format!("{} {path} {}", method.to_uppercase(), operation["operationId"].as_str().unwrap())
        })
    });
    operations.collect()
}

#[test]
fn the_document_names_every_endpoint_but_its_own_files() {
    let mut expected: BTreeSet<String> = ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.operation != "docs_file")
        .map(|endpoint| format!("{} {} {}", endpoint.methods[0], endpoint.path, endpoint.operation))
        .collect();
    assert_eq!(operations(&DOCUMENT), expected);
    expected.insert("GET /v1/maintenance/expire-reservations expire_by_cron".to_owned());
    assert_eq!(operations(&document(&Access::new("", "secret"))), expected);
}

#[test]
fn a_token_is_asked_for_where_one_is_needed() {
    for (access, with_token) in
        [(Access::default(), &[][..]), (Access::new("", "secret"), &["expire", "expire_by_cron"][..])]
    {
        let document = document(&access);
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                let secured = operation["security"].is_array();
                assert_eq!(secured, with_token.contains(&id), "{id}");
                assert_eq!(secured, operation["responses"]["401"].is_object(), "{id}");
            }
        }
    }
    let keys = document(&Access::new("key", ""));
    assert!(keys["paths"]["/v1/items"]["post"]["security"].is_array());
    assert!(keys["paths"]["/v1/health"]["get"]["security"].is_null());
}

#[test]
fn nothing_stands_beside_a_reference() {
    fn check(value: &Value, place: &str) {
        match value {
            Value::Object(members) => {
                assert!(!members.contains_key("$ref") || members.len() == 1, "{place}: {value}");
                members.iter().for_each(|(name, member)| check(member, &format!("{place}/{name}")));
            }
            Value::Array(values) => values.iter().for_each(|value| check(value, place)),
            _ => {}
        }
    }
    check(&DOCUMENT, "");
}

#[test]
fn every_status_has_an_example_that_fits_its_schema() {
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                for media in response["content"].as_object().unwrap().values() {
                    let mut examples: Vec<&Value> = media["examples"]
                        .as_object()
                        .map(|examples| examples.values().map(|example| &example["value"]).collect())
                        .unwrap_or_default();
                    examples.extend(media.get("example"));
                    assert!(!examples.is_empty(), "{method} {path} {status}: no example");
                    for example in examples {
                        fits(example, &media["schema"], &format!("{method} {path} {status}"));
                    }
                }
            }
            if let Some(body) = operation.get("requestBody") {
                let media = &body["content"]["application/json"];
                fits(&media["example"], &media["schema"], &format!("{method} {path} body"));
            }
        }
    }
}

#[test]
fn a_status_names_the_fields_that_come_with_it() {
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, name) in [("401", "WWW-Authenticate"), ("405", "Allow"), ("503", "Retry-After")] {
                let response = &operation["responses"][status];
                assert!(response.is_null() || response["headers"][name].is_object(), "{method} {path} {status} {name}");
            }
        }
    }
    assert!(DOCUMENT["paths"]["/v1/items"]["post"]["responses"]["503"].is_object());
}

/// Every required property is there and none that the schema does not know.
fn fits(example: &Value, schema: &Value, place: &str) {
    let Some(reference) = schema["$ref"].as_str() else { return };
    let name = reference.strip_prefix("#/components/schemas/").unwrap();
    let schema = &DOCUMENT["components"]["schemas"][name];
    assert!(schema.is_object(), "{place}: {name} is not defined");
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(example.get(required.as_str().unwrap()).is_some(), "{place}: the example lacks {required}");
    }
    for property in example.as_object().unwrap().keys() {
        assert!(schema["properties"].get(property).is_some(), "{place}: the example has {property}");
    }
}

#[tokio::test]
async fn the_document_and_its_page_are_served_from_here() {
    let api = Api::new().await;
    let document = api.get("/openapi.json").await;
    assert_eq!((document.status, &document.body), (StatusCode::OK, &*DOCUMENT));
    let page = api.client.get(format!("{}/docs", api.url)).send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    let assets: Vec<&str> = page.split('"').filter(|text| text.starts_with("/docs/")).collect();
    assert_eq!(assets.len(), 3);
    assert!(!page.contains("//cdn") && !page.contains("https://"), "an asset from elsewhere");
    for asset in assets {
        let answer = api.client.get(format!("{}{asset}", api.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{asset}");
        assert!(answer.bytes().await.unwrap().len() > 100, "{asset}");
    }
}
