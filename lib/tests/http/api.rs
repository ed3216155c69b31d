//! A service of the test's own, and answers that are checked against the OpenAPI document as they come.

use std::sync::LazyLock;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use stockhold::http::endpoints::ENDPOINTS;
use stockhold::http::{Access, Service, openapi_document, router};
use tokio::net::TcpListener;

use crate::common::Fixture;

/// The document of a service without keys.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&Access::default()));

pub fn document(access: &Access) -> Value {
    serde_json::to_value(openapi_document(access)).unwrap()
}

pub struct Api {
    pub fixture: Fixture,
    pub client: Client,
    pub url: String,
    pub document: Value,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The places that a validation problem names.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }
}

impl Api {
    pub async fn new() -> Self {
        Self::with_access(Access::default()).await
    }

    pub async fn with_access(access: Access) -> Self {
        let fixture = Fixture::new().await;
        let document = document(&access);
        let router = router(Service::new(fixture.inventory.clone(), access), ENDPOINTS.iter().copied());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { fixture, client: Client::builder().no_proxy().build().unwrap(), url, document }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], Some(body.to_string().into())).await
    }

    pub async fn post_under(&self, key: &str, path: &str, body: Value) -> Answer {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.send(Method::POST, path, &headers, Some(body.to_string().into())).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Answer {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.unwrap_or_default()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let answer = Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        self.check_against_document(&method, path, &answer);
        answer
    }

    /// An item's id.
    pub async fn item(&self, initial_quantity: i64) -> String {
        let answer = self.post("/v1/items", json!({ "name": "Ticket", "initial_quantity": initial_quantity })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// A reservation's id.
    pub async fn hold(&self, item_id: &str, quantity: i64, ttl_seconds: f64) -> String {
        let body = json!({
            "item_id": item_id, "customer_id": "customer", "quantity": quantity, "ttl_seconds": ttl_seconds
        });
        let answer = self.post("/v1/reservations", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    pub async fn wait_until_lapsed(&self, reservation_id: &str) {
        let id = reservation_id.parse().unwrap();
        let reservation = self.fixture.inventory.get_reservation(id).await.unwrap().unwrap();
        self.fixture.wait_until_lapsed(&reservation).await;
    }

    /// Every answer of a route is one that the document announces, with the members its schema names.
    fn check_against_document(&self, method: &Method, path: &str, answer: &Answer) {
        assert!(!answer.header("x-request-id").is_empty(), "{path}: no X-Request-Id");
        assert!(answer.header("server-timing").starts_with("db;dur="), "{path}: {}", answer.header("server-timing"));
        // Its answers have no body.
        if *method == Method::HEAD {
            return;
        }
        if answer.status.is_client_error() || answer.status.is_server_error() {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
            assert_eq!(answer.body["status"], answer.status.as_u16());
            assert_eq!(answer.body["instance"], answer.header("x-request-id"));
            assert_eq!(answer.body["type"], format!("/problems/{}", answer.code()));
            assert!(answer.body["title"].is_string() && answer.body["detail"].is_string());
        }
        let path = path.split('?').next().unwrap();
        let documented = &self.document["paths"];
        let known = ENDPOINTS.iter().find(|endpoint| endpoint.matches(path));
        let operation = known.map(|endpoint| &documented[endpoint.path][method.as_str().to_lowercase()]);
        let Some(operation) = operation.filter(|operation| operation.is_object()) else {
            assert!(["route_not_found", "method_not_allowed"].contains(&answer.code()) || path.starts_with("/docs/"));
            return;
        };
        let response = &operation["responses"][answer.status.as_str()];
        assert!(response.is_object(), "{method} {path}: {} is not documented", answer.status);
        if answer.status.is_success() {
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            let Some(name) = schema.as_str().and_then(|reference| reference.rsplit('/').next()) else { return };
            let documented = &self.document["components"]["schemas"][name]["properties"];
            let names = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&answer.body), names(documented), "{method} {path}");
        } else {
            let example = &response["content"]["application/problem+json"]["examples"][answer.code()];
            assert!(example.is_object(), "{method} {path}: {} is not documented", answer.code());
        }
    }
}
