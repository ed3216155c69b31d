//! The files that are written from the list of endpoints: the function files, their binaries, both `vercel.json`, the static
//! files and the README's table. `UPDATE=1 cargo test -p stockhold-handlers --test written` writes them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stockhold::http::endpoints::{self, ENDPOINTS, docs};
use stockhold::http::{Access, Endpoint, Function, openapi_document};

/// What Vercel's free plan deploys at most.
const FUNCTION_COUNT_MAX: usize = 12;

#[test]
fn what_is_written_from_the_list_agrees_with_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let written = written(root);
    let update = std::env::var_os("UPDATE").is_some();
    let mut differ = Vec::new();
    for (path, text) in &written {
        if fs::read_to_string(path).ok().as_ref() != Some(text) {
            differ.push(path.strip_prefix(root).unwrap().display().to_string());
            if update {
                fs::write(path, text).unwrap();
            }
        }
    }
    for entry in fs::read_dir(root.join("handlers")).unwrap() {
        let path = entry.unwrap().path();
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        if is_code && !["lib.rs", "serve.rs"].iter().any(|name| path.ends_with(name)) && !written.contains_key(&path) {
            differ.push(format!("{} has no endpoint", path.strip_prefix(root).unwrap().display()));
            if update {
                fs::remove_file(path).unwrap();
            }
        }
    }
    assert!(update || differ.is_empty(), "run this test with UPDATE=1: {}", differ.join(", "));
}

#[test]
fn a_function_file_has_15_lines_at_most() {
    assert!(function_file("", "", "").lines().count() <= 15);
}

#[test]
fn the_free_plan_deploys_vercel_json() {
    let functions = |plan| functions(plan).into_values().collect::<BTreeSet<_>>();
    assert!(functions(Plan::Free).len() <= FUNCTION_COUNT_MAX, "{:?}", functions(Plan::Free));
    assert!(functions(Plan::Free).contains("others") && !functions(Plan::Pro).contains("others"));
}

#[derive(Clone, Copy, PartialEq)]
enum Plan {
    Free,
    Pro,
}

fn served_by_functions() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().copied().filter(|endpoint| endpoint.function != Function::Static)
}

/// The function of each operation.
fn functions(plan: Plan) -> BTreeMap<&'static str, &'static str> {
    let function = |endpoint: &'static Endpoint| match (endpoint.function, plan) {
        (Function::Shared, Plan::Free) => "others",
        _ => endpoint.operation,
    };
    served_by_functions().map(|endpoint| (endpoint.operation, function(endpoint))).collect()
}

fn written(root: &Path) -> BTreeMap<PathBuf, String> {
    let handlers = root.join("handlers");
    let mut files = BTreeMap::new();
    let mut names = Vec::new();
    for endpoint in served_by_functions() {
        let mut summary = endpoint.summary.to_owned();
        summary[..1].make_ascii_lowercase();
        let told = format!("`{} {}`: {summary}.", endpoint.methods[0], endpoint.path);
        names.push(endpoint.operation);
        let (imports, list) = (format!("::{}", endpoint.operation), format!("[&{}::ENDPOINT]", endpoint.operation));
        files.insert(handlers.join(format!("{}.rs", endpoint.operation)), function_file(&told, &imports, &list));
    }
    let shared: Vec<&str> = endpoints::shared().map(|endpoint| endpoint.operation).collect();
    let told = format!("The endpoints that share a function: {}.", shared.join(", "));
    files.insert(handlers.join("others.rs"), function_file(&told, "", "endpoints::shared()"));
    names.extend(["others", "serve"]);

    let manifest = handlers.join("Cargo.toml");
    let head = fs::read_to_string(&manifest).unwrap();
    let head = head.split("[[bin]]").next().unwrap().trim_end();
    let binaries = names
        .iter()
        .map(|name| format!("\n\n[[bin]]\nname = \"{name}\"\npath = \"{name}.rs\"\ntest = false\ndoc = false"));
    files.insert(manifest, format!("{head}{}\n", binaries.collect::<String>()));

    files.insert(root.join("vercel.json"), vercel(Plan::Free));
    files.insert(root.join("vercel.pro.json"), vercel(Plan::Pro));
    let statics = handlers.join("static");
    // As deployed: with keys, and a secret for the cron.
    let document = serde_json::to_value(openapi_document(&Access::new("key", "secret"))).unwrap();
    files.insert(statics.join("openapi.json"), pretty(&document));
    files.insert(statics.join("docs.html"), docs::PAGE.to_owned());
    let not_found = json!({
        "type": "/problems/route_not_found", "title": "There is nothing at this path", "status": 404,
        "detail": "See /docs for the paths there are.", "code": "route_not_found"
    });
    files.insert(statics.join("404.json"), pretty(&not_found));

    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let (before, rest) = text.split_once("<!-- endpoints -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- /endpoints -->").unwrap();
    let table = readme_table(&document);
    files.insert(readme, format!("{before}<!-- endpoints -->\n{table}<!-- /endpoints -->{after}"));
    files
}

/// `imports`: what stands behind `endpoints::`; `list`: what is run.
fn function_file(told: &str, imports: &str, list: &str) -> String {
    format!(
        "//! {told}\n\nuse std::process::ExitCode;\n\nuse stockhold::http::endpoints{imports};\n\n#[tokio::main]\n\
         async fn main() -> ExitCode {{\n    stockhold_handlers::run({list}).await\n}}\n"
    )
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

/// Members in the order in which they are read.
fn line(members: &[(&str, Value)]) -> String {
    let members = members.iter().map(|(name, value)| format!("\"{name}\": {value}"));
    format!("        {{ {} }}", members.collect::<Vec<_>>().join(", "))
}

/// `builds` and `routes`, one a line. A path of several endpoints is told apart by its method; the first of them answers 405.
fn vercel(plan: Plan) -> String {
    let functions = functions(plan);
    let sources: BTreeSet<&str> = functions.values().copied().collect();
    let build = |name: &&str| line(&[("src", json!(format!("handlers/{name}.rs"))), ("use", json!("@vercel/rust"))]);
    let mut builds: Vec<String> = sources.iter().map(build).collect();
    builds.push(line(&[
        ("src", json!("handlers/static/package.json")),
        ("use", json!("@vercel/static-build")),
        ("config", json!({ "distDir": "dist" })),
    ]));

    let pattern = |path: &str| {
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "[^/]+" } else { segment });
        ("src", json!(format!("^{}$", segments.collect::<Vec<_>>().join("/").replace('.', "\\."))))
    };
    let function = |endpoint: &Endpoint| ("dest", json!(format!("/handlers/{}.rs", functions[endpoint.operation])));
    let mut routes = Vec::new();
    let mut paths = BTreeSet::new();
    for first in served_by_functions().filter(|endpoint| paths.insert(endpoint.path)) {
        for other in served_by_functions().filter(|other| other.path == first.path).skip(1) {
            let methods: Vec<_> = other.allowed_methods(&Access::new("", "secret")).collect();
            routes.push(line(&[pattern(other.path), ("methods", json!(methods)), function(other)]));
        }
        routes.push(line(&[pattern(first.path), function(first)]));
    }
    let files = docs::PAGE.split('"').filter(|text| text.starts_with("/docs/"));
    let files = files.map(|path| (path, &path[1..])).chain([("/openapi.json", "openapi.json"), ("/docs", "docs.html")]);
    for (path, file) in files {
        let target = json!(format!("/handlers/static/{file}"));
        routes.push(line(&[pattern(path), ("methods", json!(["GET", "HEAD"])), ("dest", target)]));
    }
    routes.push(line(&[
        ("src", json!("^/.*$")),
        ("status", json!(404)),
        ("headers", json!({ "content-type": "application/problem+json" })),
        ("dest", json!("/handlers/static/404.json")),
    ]));

    let sweep = ENDPOINTS.iter().find(|endpoint| endpoint.operation == "expire").unwrap().path;
    // The free plan runs a cron once a day.
    let schedule = if plan == Plan::Free { "0 4 * * *" } else { "* * * * *" };
    let crons = line(&[("path", json!(sweep)), ("schedule", json!(schedule))]);
    format!(
        "{{\n    \"version\": 2,\n    \"builds\": [\n{}\n    ],\n    \"routes\": [\n{}\n    ],\n    \"crons\": [\n{crons}\n    ]\n}}\n",
        builds.join(",\n"),
        routes.join(",\n")
    )
}

/// What each endpoint does, its success and the refusals that are its own.
fn readme_table(document: &Value) -> String {
    let mut table = "| method and path | does | answers | refuses |\n|---|---|---|---|\n".to_owned();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.operation != "docs_file") {
        let method = endpoint.methods[0];
        let responses = &document["paths"][endpoint.path][method.to_lowercase()]["responses"];
        let success = responses.as_object().unwrap().keys().find(|status| status.starts_with('2')).unwrap();
        let refusals = ["404", "409"].iter().filter_map(|status| {
            let examples = responses[status]["content"]["application/problem+json"]["examples"].as_object()?;
            Some(format!("{status} {}", examples.keys().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ")))
        });
        let refusals = refusals.collect::<Vec<_>>().join("; ");
        table.push_str(&format!("| `{method} {}` | {} | {success} | {refusals} |\n", endpoint.path, endpoint.summary));
    }
    table
}
