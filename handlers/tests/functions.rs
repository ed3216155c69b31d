//! The function files as they are deployed: each a process of its own against a real database, behind Vercel's runtime and
//! the routes of `vercel.json`, and behind AWS Lambda's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../lib/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use regex::Regex;
use reqwest::{Client, Method};
use rstest::rstest;
use serde_json::{Value, json};
use stockhold::http::Access;
use stockhold::http::endpoints::{self, ENDPOINTS};

use common::Fixture;

/// A function's process, ended with this value.
struct Function {
    process: Child,
    url: String,
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cargo builds the binaries of this crate into one folder.
fn binary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_serve")).with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn command(operation: &str, database_url: &str) -> Command {
    let mut command = Command::new(binary(operation));
    command.env("DATABASE_URL", database_url).env_remove("API_KEYS").env_remove("CRON_SECRET");
    command.env_remove("VERCEL_IPC_PATH").env_remove("AWS_LAMBDA_RUNTIME_API");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts a function behind Vercel's runtime and waits for its ping.
async fn start(operation: &str, database_url: &str) -> Function {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let process = command(operation, database_url).env("VERCEL_DEV_PORT", port.to_string()).spawn().unwrap();
    let function = Function { process, url: format!("http://127.0.0.1:{port}") };
    let client = client();
    let started = Instant::now();
    while client.get(format!("{}/_vercel/ping", function.url)).send().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "{operation} does not answer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    function
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// What the platform's router does with a call: the first route that fits its path and method names the function or the file.
struct Gateway {
    routes: Vec<Value>,
    functions: BTreeMap<String, Function>,
}

impl Gateway {
    async fn new(vercel: &str, database_url: &str) -> Self {
        let vercel: Value = serde_json::from_str(vercel).unwrap();
        let mut functions = BTreeMap::new();
        for build in vercel["builds"].as_array().unwrap() {
            if let Some(name) = build["src"].as_str().unwrap().strip_suffix(".rs") {
                let name = name.strip_prefix("handlers/").unwrap();
                functions.insert(format!("/handlers/{name}.rs"), start(name, database_url).await);
            }
        }
        Self { routes: vercel["routes"].as_array().unwrap().clone(), functions }
    }

    fn route(&self, method: &Method, path: &str) -> &Value {
        let fits = |route: &&Value| {
            let path_fits = Regex::new(route["src"].as_str().unwrap()).unwrap().is_match(path);
            let methods = route["methods"].as_array();
            path_fits && methods.is_none_or(|methods| methods.iter().any(|allowed| allowed == method.as_str()))
        };
        self.routes.iter().find(fits).unwrap()
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let route = self.route(&method, path.split('?').next().unwrap());
        let target = route["dest"].as_str().unwrap();
        let Some(function) = self.functions.get(target) else {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(&target[1..]);
            let body = serde_json::from_slice(&std::fs::read(file).unwrap()).ok();
            let status = route["status"].as_u64().unwrap_or(200) as u16;
            return Answer { target: target.to_owned(), status, allow: None, body: body.unwrap_or_default() };
        };
        let mut request = client().request(method, format!("{}{path}", function.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("x-request-id"), "{path}");
        Answer {
            target: target.to_owned(),
            status: response.status().as_u16(),
            allow: response.headers().get("allow").map(|allow| allow.to_str().unwrap().to_owned()),
            body: response.json().await.unwrap_or_default(),
        }
    }
}

struct Answer {
    target: String,
    status: u16,
    allow: Option<String>,
    body: Value,
}

#[rstest]
#[case::free(include_str!("../../vercel.json"))]
#[case::pro(include_str!("../../vercel.pro.json"))]
#[tokio::test]
async fn both_deployments_serve_the_same_answers(#[case] vercel: &str) {
    let fixture = Fixture::new().await;
    let gateway = Gateway::new(vercel, &fixture.url).await;
    let post = async |path: &str, body: Value| gateway.call(Method::POST, path, Some(body)).await;

    let item = post("/v1/items", json!({ "name": "Ticket", "initial_quantity": 3 })).await;
    assert_eq!(item.status, 201);
    let item = item.body["id"].as_str().unwrap().to_owned();
    let hold = |quantity: i64| json!({ "item_id": item, "customer_id": "customer", "quantity": quantity });
    let mut holds = Vec::new();
    for _ in 0..2 {
        let made = post("/v1/reservations", hold(1)).await;
        assert_eq!(made.status, 201);
        holds.push(format!("/v1/reservations/{}", made.body["id"].as_str().unwrap()));
    }
    let id = "0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e";
    let [sold, given_back] = [&holds[0], &holds[1]];
    for (method, path, status, code) in [
        (Method::POST, format!("{sold}/confirm"), 200, None),
        (Method::POST, format!("{given_back}/cancel"), 200, None),
        (Method::POST, format!("{given_back}/confirm"), 409, Some("reservation_cancelled")),
        (Method::POST, "/v1/maintenance/expire-reservations".to_owned(), 200, None),
        (Method::GET, "/v1/maintenance/expire-reservations".to_owned(), 405, Some("method_not_allowed")),
        (Method::GET, format!("/v1/items/{item}"), 200, None),
        (Method::HEAD, format!("/v1/items/{item}"), 200, None),
        (Method::GET, format!("/v1/items/{id}"), 404, Some("item_not_found")),
        (Method::GET, "/v1/items/7".to_owned(), 400, Some("malformed_id")),
        (Method::GET, format!("/v1/items/{item}/ledger?limit=2"), 200, None),
        (Method::GET, format!("/v1/items/{item}/audit"), 200, None),
        (Method::GET, sold.clone(), 200, None),
        (Method::GET, "/v1/health".to_owned(), 200, None),
        (Method::GET, "/openapi.json".to_owned(), 200, None),
        (Method::GET, "/docs".to_owned(), 200, None),
        (Method::GET, "/docs/nothing".to_owned(), 404, Some("route_not_found")),
        (Method::GET, "/".to_owned(), 404, Some("route_not_found")),
        (Method::GET, format!("/v1/items/{item}/"), 404, Some("route_not_found")),
    ] {
        let answer = gateway.call(method.clone(), &path, None).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, code), "{method} {path}");
    }
    let refused = post("/v1/reservations", hold(3)).await;
    assert_eq!((refused.status, &refused.body["available_quantity"]), (409, &json!(2)));
}

/// The function of a path answers every method that it has not, with the methods of all functions at that path.
#[tokio::test]
async fn every_path_reaches_its_function_whatever_the_method() {
    let fixture = Fixture::new().await;
    let gateway = Gateway::new(include_str!("../../vercel.pro.json"), &fixture.url).await;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.function != stockhold::http::Function::Static) {
        let path = endpoint.path.replace("{id}", "0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e");
        for method in endpoint.methods {
            let target = &gateway.route(&method.parse().unwrap(), &path)["dest"];
            assert_eq!(target, &format!("/handlers/{}.rs", endpoint.operation), "{method} {path}");
        }
        let refused = gateway.call(Method::DELETE, &path, None).await;
        let allowed = endpoints::allowed_methods(&path, &Access::default()).join(", ");
        assert_eq!((refused.status, refused.allow), (405, Some(allowed)), "{path} by {}", refused.target);
    }
}

/// The part of Lambda's runtime API that a function speaks: it fetches an event and posts what it answers.
/// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
#[tokio::test]
async fn a_function_answers_behind_the_lambda_runtime_api() {
    use axum::Router;
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use std::sync::Arc;
    use tokio::sync::{Mutex, mpsc};

    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let body = json!({ "item_id": item.id, "customer_id": "customer", "quantity": 2 }).to_string();
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/v1/reservations", "rawQueryString": "",
        "headers": { "content-type": "application/json", "x-request-id": "from-lambda" },
        "requestContext": {
            "accountId": "1", "apiId": "api", "domainName": "localhost", "domainPrefix": "api", "requestId": "1",
            "routeKey": "$default", "stage": "$default", "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 0,
            "http": {
                "method": "POST", "path": "/v1/reservations", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                "userAgent": "test"
            }
        },
        "body": body, "isBase64Encoded": false
    });
    type Events = Arc<Mutex<Vec<String>>>;
    let events: Events = Arc::new(Mutex::new(vec![event.to_string()]));
    let (answered, mut answers) = mpsc::channel::<String>(1);
    async fn next(State(events): State<Events>) -> impl IntoResponse {
        let Some(event) = events.lock().await.pop() else {
            return std::future::pending().await;
        };
        let deadline_ms = "4102444800000";
        let headers = [
            ("lambda-runtime-aws-request-id", "1"),
            ("lambda-runtime-deadline-ms", deadline_ms),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:local:1:function:reserve"),
        ];
        (headers, event)
    }
    let runtime_api = Router::new().route("/2018-06-01/runtime/invocation/next", get(next)).with_state(events).route(
        "/2018-06-01/runtime/invocation/1/response",
        post(move |body: String| async move {
            answered.send(body).await.unwrap();
            StatusCode::ACCEPTED
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, runtime_api).await.unwrap() });

    let mut command = command("reserve", &fixture.url);
    command.env("AWS_LAMBDA_RUNTIME_API", &address).env("AWS_LAMBDA_FUNCTION_NAME", "reserve");
    command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128").env("AWS_LAMBDA_FUNCTION_VERSION", "1");
    command.env("AWS_LAMBDA_LOG_STREAM_NAME", "").env("AWS_LAMBDA_LOG_GROUP_NAME", "");
    let _function = Function { process: command.spawn().unwrap(), url: String::new() };
    let answer = tokio::time::timeout(Duration::from_secs(10), answers.recv()).await.unwrap().unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["statusCode"], 201, "{answer}");
    assert_eq!(answer["headers"]["x-request-id"], "from-lambda");
    let reservation: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(reservation["quantity"], 2);
}

#[rstest]
#[case::no_url("reserve", "", "DATABASE_URL is not set")]
#[case::not_a_url("reserve", "mysql://nowhere", "DATABASE_URL must begin with postgres://")]
#[case::unreachable("serve", "postgres://user:hunter2@127.0.0.1:1/x", "the database is unavailable")]
#[tokio::test]
async fn a_process_that_cannot_work_says_so_in_one_line(
    #[case] name: &str,
    #[case] database_url: &str,
    #[case] message: &str,
) {
    let output = tokio::process::Command::new(binary(name))
        .env("DATABASE_URL", database_url)
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await.unwrap().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(message) && !text.contains("hunter2"), "{text}");
}
