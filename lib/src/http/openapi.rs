//! The OpenAPI document, built from the list of endpoints and the types that serve the requests.

use okapi::Map;
use okapi::openapi3::{
    Components, Info, License, OpenApi, Operation, PathItem, SecurityRequirement, SecurityScheme, SecuritySchemeData,
    Server, Tag,
};
use schemars::r#gen::{SchemaGenerator, SchemaSettings};
use schemars::visit::{RemoveRefSiblings, Visitor};

use super::access::{Access, AccessRule};
use super::description::Description;
use super::endpoint::Endpoint;
use super::endpoints::ENDPOINTS;
use super::problem::Code;

/// The document of a service with this access: a token is named where one is needed, a method where it is answered.
pub fn document(access: &Access) -> OpenApi {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut paths: Map<String, PathItem> = Map::new();
    for endpoint in ENDPOINTS {
        let Some(describe) = endpoint.describe else { continue };
        let item = paths.entry(endpoint.path.to_owned()).or_default();
        for method in endpoint.allowed_methods(access) {
            let operation = describe(begin(endpoint, access, &mut generator)).operation();
            match method {
                "POST" => item.post = Some(operation),
                "GET" if endpoint.methods.len() > 1 => item.get = Some(by_cron(operation)),
                "GET" => item.get = Some(operation),
                _ => {}
            }
        }
    }
    let schemas = generator.take_definitions().into_iter().map(|(name, schema)| {
        let mut schema = schema.into_object();
        // What stands beside a reference is ignored (OpenAPI 3.0.3, 4.7.23).
        RemoveRefSiblings.visit_schema_object(&mut schema);
        (name, schema)
    });
    let bearer = SecurityScheme {
        description: Some("One of API_KEYS; for maintenance, CRON_SECRET too.".to_owned()),
        data: SecuritySchemeData::Http { scheme: "bearer".to_owned(), bearer_format: None },
        extensions: Map::new(),
    };
    OpenApi {
        openapi: OpenApi::default_version(),
        info: Info {
            title: "Stockhold".to_owned(),
            description: Some(
                "Inventory reservations that never oversell: `confirmed + active pending unexpired <= total` at every \
                 committed state. Refusals are problem details (RFC 9457); `code` is the word to test."
                    .to_owned(),
            ),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            license: Some(License { name: "MIT".to_owned(), ..License::default() }),
            ..Info::default()
        },
        servers: vec![Server { url: "/".to_owned(), ..Server::default() }],
        paths,
        components: Some(Components {
            schemas: schemas.collect(),
            security_schemes: Map::from_iter([("bearer".to_owned(), bearer.into())]),
            ..Components::default()
        }),
        tags: TAGS.map(|name| Tag { name: name.to_owned(), ..Tag::default() }).to_vec(),
        ..OpenApi::default()
    }
}

const TAGS: [&str; 4] = ["items", "reservations", "maintenance", "service"];

/// What every operation of its kind has.
fn begin<'g>(endpoint: &Endpoint, access: &Access, generator: &'g mut SchemaGenerator) -> Description<'g> {
    let tag = endpoint.path.split('/').nth(2).filter(|segment| TAGS.contains(segment)).unwrap_or("service");
    let mut operation = Operation {
        operation_id: Some(endpoint.operation.to_owned()),
        summary: Some(endpoint.summary.to_owned()),
        tags: vec![tag.to_owned()],
        ..Operation::default()
    };
    let mut codes = Vec::new();
    if endpoint.path.starts_with("/v1/") {
        codes.push(Code::DatabaseUnavailable);
    }
    if endpoint.access != AccessRule::Open {
        codes.push(Code::Overloaded);
    }
    if access.needs_token(endpoint.access) {
        codes.push(Code::Unauthenticated);
        operation.security = Some(vec![SecurityRequirement::from_iter([("bearer".to_owned(), Vec::new())])]);
    }
    Description::new(operation, generator).refuses(codes)
}

/// The same for a scheduler that can only GET.
fn by_cron(mut operation: Operation) -> Operation {
    operation.operation_id = operation.operation_id.map(|id| format!("{id}_by_cron"));
    operation.request_body = None;
    operation.description = Some("The same for a scheduler that can only GET.".to_owned());
    operation
}
