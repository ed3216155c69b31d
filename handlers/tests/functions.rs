//! The function files as they are deployed: one set of names everywhere, and every binary answers its route, started on
//! its own against a real database, behind Vercel's runtime and behind AWS Lambda's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../lib/tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, Response};
use rstest::rstest;
use serde_json::{Value, json};
use stockhold::http::routes::ROUTES;

use common::Fixture;

fn vercel() -> Value {
    serde_json::from_str(include_str!("../../vercel.json")).unwrap()
}

fn operations() -> BTreeSet<String> {
    ROUTES.iter().map(|route| route.operation.to_owned()).collect()
}

/// The function files, without what they share and without the one that runs all routes.
fn function_files() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| name != "lib" && name != "serve")
        .collect()
}

#[test]
fn vercel_json_the_function_files_and_the_routes_name_the_same_set() {
    let mut expected = operations();
    expected.insert("not_found".to_owned());
    assert_eq!(function_files(), expected);

    let manifest = include_str!("../Cargo.toml");
    let binaries: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix(".rs\"").map(str::to_owned))
        .filter(|name| name != "lib" && name != "serve")
        .collect();
    assert_eq!(binaries, expected, "Cargo.toml");

    let name = |value: &Value| {
        let path = value.as_str().unwrap().trim_start_matches('/');
        path.strip_prefix("handlers/").unwrap().strip_suffix(".rs").unwrap().to_owned()
    };
    let vercel = vercel();
    let built: BTreeSet<String> =
        vercel["builds"].as_array().unwrap().iter().map(|build| name(&build["src"])).collect();
    let routed: BTreeSet<String> =
        vercel["routes"].as_array().unwrap().iter().map(|route| name(&route["dest"])).collect();
    assert_eq!(built, expected, "builds");
    assert_eq!(routed, expected, "routes");
}

/// What the platform's router does: the first route that fits the path and the method.
fn routed(method: &str, path: &str) -> String {
    let vercel = vercel();
    let fits = |route: &&Value| {
        let source = route["src"].as_str().unwrap();
        let methods = route["methods"].as_array();
        let segments = source.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".");
        let optional = segments.strip_suffix("(/[^/]+)?");
        let pattern = optional.unwrap_or(&segments);
        let matches = |pattern: &str| {
            let pattern = pattern.replace("[^/]+", "*");
            let (mine, theirs): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            mine.len() == theirs.len() && mine.iter().zip(&theirs).all(|(m, t)| m == t || *m == "*" && !t.is_empty())
        };
        let path_fits =
            pattern == "/.*" || matches(pattern) || optional.is_some() && matches(&format!("{pattern}/[^/]+"));
        path_fits && methods.is_none_or(|methods| methods.iter().any(|allowed| allowed == method))
    };
    vercel["routes"].as_array().unwrap().iter().find(fits).unwrap()["dest"].as_str().unwrap().to_owned()
}

#[test]
fn vercel_json_sends_each_method_and_path_to_its_function() {
    for route in ROUTES {
        let path = route.path.replace("{id}", "0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e");
        for method in route.methods {
            assert_eq!(routed(method, &path), format!("/handlers/{}.rs", route.operation), "{method} {path}");
        }
        // Where GET is not alone it changes something, and HEAD must not.
        let reads = route.methods == ["GET"];
        let head = if reads { routed("GET", &path) } else { "/handlers/not_found.rs".to_owned() };
        assert_eq!(routed("HEAD", &path), head, "{path}");
        assert_eq!(routed("DELETE", &path), "/handlers/not_found.rs", "{path}");
        assert_eq!(routed(route.methods[0], &format!("{path}/more/still")), "/handlers/not_found.rs");
    }
    assert_eq!(routed("GET", "/docs/swagger-ui.css"), "/handlers/docs.rs");
    assert_eq!(routed("GET", "/"), "/handlers/not_found.rs");
}

#[test]
fn the_cron_calls_the_sweep() {
    let crons = vercel()["crons"].clone();
    assert_eq!(crons[0]["path"], "/v1/maintenance/expire-reservations");
    assert_eq!(crons.as_array().unwrap().len(), 1);
}

#[test]
fn a_function_file_has_15_lines_at_most() {
    for name in function_files() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.rs"));
        let line_count = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(line_count <= 15, "{name}.rs has {line_count}");
    }
}

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

fn binary(operation: &str) -> &'static str {
    match operation {
        "create_item" => env!("CARGO_BIN_EXE_create_item"),
        "get_item" => env!("CARGO_BIN_EXE_get_item"),
        "reserve" => env!("CARGO_BIN_EXE_reserve"),
        "confirm" => env!("CARGO_BIN_EXE_confirm"),
        "cancel" => env!("CARGO_BIN_EXE_cancel"),
        "expire" => env!("CARGO_BIN_EXE_expire"),
        "get_reservation" => env!("CARGO_BIN_EXE_get_reservation"),
        "get_ledger" => env!("CARGO_BIN_EXE_get_ledger"),
        "audit" => env!("CARGO_BIN_EXE_audit"),
        "health" => env!("CARGO_BIN_EXE_health"),
        "openapi" => env!("CARGO_BIN_EXE_openapi"),
        "docs" => env!("CARGO_BIN_EXE_docs"),
        "not_found" => env!("CARGO_BIN_EXE_not_found"),
        other => panic!("no binary for {other}"),
    }
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

async fn call(function: &Function, method: Method, path: &str, body: Option<Value>) -> Response {
    let mut request = client().request(method, format!("{}{path}", function.url));
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.unwrap()
}

#[rstest]
#[case("create_item", Method::POST, "/v1/items", 201)]
#[case("get_item", Method::GET, "/v1/items/ITEM", 200)]
#[case("reserve", Method::POST, "/v1/reservations", 201)]
#[case("confirm", Method::POST, "/v1/reservations/HOLD/confirm", 200)]
#[case("cancel", Method::POST, "/v1/reservations/HOLD/cancel", 200)]
#[case("expire", Method::POST, "/v1/maintenance/expire-reservations", 200)]
#[case("get_reservation", Method::GET, "/v1/reservations/HOLD", 200)]
#[case("get_ledger", Method::GET, "/v1/items/ITEM/ledger", 200)]
#[case("audit", Method::GET, "/v1/items/ITEM/audit", 200)]
#[case("health", Method::GET, "/v1/health", 200)]
#[case("openapi", Method::GET, "/openapi.json", 200)]
#[case("docs", Method::GET, "/docs", 200)]
#[case("not_found", Method::GET, "/v1/nothing", 404)]
#[tokio::test]
async fn a_function_answers_its_route_and_no_other(
    #[case] operation: &str,
    #[case] method: Method,
    #[case] path: &str,
    #[case] status: u16,
) {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let hold = fixture.hold(item.id, 1, 600.0).await;
    let function = start(operation, &fixture.url).await;
    let path = path.replace("ITEM", &item.id.to_string()).replace("HOLD", &hold.id.to_string());
    let body = match operation {
        "create_item" => Some(json!({ "name": "Ticket", "initial_quantity": 5 })),
        "reserve" => Some(json!({ "item_id": item.id, "customer_id": "customer", "quantity": 1 })),
        _ => None,
    };
    let answer = call(&function, method, &path, body).await;
    assert_eq!(answer.status(), status, "{operation}");
    assert!(answer.headers().contains_key("x-request-id"));

    let other = if operation == "health" { "/v1/items" } else { "/v1/health" };
    let refused = call(&function, Method::DELETE, other, None).await;
    assert_eq!(refused.status(), 405, "{operation} answers {other}");
    let allow = refused.headers()["allow"].to_str().unwrap().to_owned();
    assert_eq!(allow, if operation == "health" { "POST" } else { "GET, HEAD" });
    let unknown = call(&function, Method::GET, "/elsewhere", None).await;
    let problem: Value = unknown.json().await.unwrap();
    assert_eq!(problem["code"], "route_not_found");
}

#[test]
fn every_function_has_a_binary() {
    let mut expected = operations();
    expected.insert("not_found".to_owned());
    for operation in expected {
        assert!(Path::new(binary(&operation)).exists());
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
    let binary = if name == "serve" { env!("CARGO_BIN_EXE_serve") } else { binary(name) };
    let output = tokio::process::Command::new(binary)
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
