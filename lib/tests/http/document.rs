//! The OpenAPI document and its page.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::Value;
use stockhold::http::endpoints::ENDPOINTS;
use stockhold::http::routes::ROUTES;

use super::api::{Api, DOCUMENT};

#[test]
fn the_document_names_the_routes_and_only_them() {
    let documented: BTreeSet<String> = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| {
                let id = operation["operationId"].as_str().unwrap().trim_end_matches("_by_cron");
                format!("{} {path} {id}", method.to_uppercase())
            })
        })
        .collect();
    let routed: BTreeSet<String> = ROUTES
        .iter()
        .flat_map(|route| {
            route.methods.iter().map(move |method| format!("{method} {} {}", route.path, route.operation))
        })
        .collect();
    assert_eq!(documented, routed);
    let served: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.route.operation).collect();
    assert_eq!(served, ROUTES.iter().map(|route| route.operation).collect::<Vec<_>>());
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
