//! One endpoint's part of the OpenAPI document: what it takes, what it answers, and every way it refuses.

use axum::http::StatusCode;
use okapi::Map;
use okapi::openapi3::{
    Example, ExampleValue, Header, MediaType, Operation, Parameter, ParameterValue, RefOr, RequestBody, Response,
    SchemaObject,
};
use schemars::JsonSchema;
use schemars::r#gen::SchemaGenerator;
use serde::Serialize;
use serde_json::{Value, json};

use super::example;
use super::problem::{Code, ProblemBody};

/// An operation in the making.
pub(crate) struct Description<'g> {
    generator: &'g mut SchemaGenerator,
    operation: Operation,
    codes: Vec<Code>,
}

impl<'g> Description<'g> {
    pub fn new(operation: Operation, generator: &'g mut SchemaGenerator) -> Self {
        Self { generator, operation, codes: vec![Code::Internal] }
    }

    /// The UUID in the path.
    pub fn id(self, description: &str, example: impl Serialize) -> Self {
        let schema = schema(json!({ "type": "string", "format": "uuid" }));
        self.refuses([Code::MalformedId]).parameter("id", "path", description, schema, json!(example))
    }

    pub fn idempotency_key(self) -> Self {
        // Bare, or a structured-field string; a bare one cannot begin with a quote.
        let pattern = r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#;
        let schema = schema(json!({ "type": "string", "pattern": pattern }));
        let description = "A name for this call. What it made is the answer to every repeat, as it is by then, with \
                           `Idempotency-Replayed: true`; a refusal stores nothing.";
        self.refuses([Code::MalformedIdempotencyKey, Code::IdempotencyKeyReused]).parameter(
            "Idempotency-Key",
            "header",
            description,
            schema,
            json!("order-1234"),
        )
    }

    /// A parameter of the query, which may be left out.
    pub fn query(self, name: &str, description: &str, schema_json: Value, example: impl Serialize) -> Self {
        self.refuses([Code::ValidationFailed]).parameter(
            name,
            "query",
            description,
            schema(schema_json),
            json!(example),
        )
    }

    fn parameter(
        mut self,
        name: &str,
        location: &str,
        description: &str,
        schema: SchemaObject,
        example: Value,
    ) -> Self {
        self.operation.parameters.push(
            Parameter {
                name: name.to_owned(),
                location: location.to_owned(),
                description: Some(description.to_owned()),
                required: location == "path",
                deprecated: false,
                allow_empty_value: false,
                value: parameter_value(schema, Some(example)),
                extensions: Map::new(),
            }
            .into(),
        );
        self
    }

    /// A JSON body. `required`: it cannot be left out.
    pub fn body<T: JsonSchema>(mut self, required: bool, example: Value) -> Self {
        let media = MediaType {
            schema: Some(self.generator.subschema_for::<T>().into_object()),
            example: Some(example),
            ..MediaType::default()
        };
        let content = Map::from_iter([("application/json".to_owned(), media)]);
        self.operation.request_body = Some(RequestBody { content, required, ..RequestBody::default() }.into());
        self.refuses([Code::MalformedJson, Code::BodyTooLarge, Code::UnsupportedMediaType, Code::ValidationFailed])
    }

    /// Its success, as JSON.
    pub fn answers<T: JsonSchema>(self, status: StatusCode, example: impl Serialize) -> Self {
        let schema = self.generator.subschema_for::<T>().into_object();
        self.answers_media(status, "application/json", schema, json!(example))
    }

    /// Its success, as another media type.
    pub fn answers_media(
        mut self,
        status: StatusCode,
        media_type: &str,
        media_schema: SchemaObject,
        example: Value,
    ) -> Self {
        let mut response = response(status, media_type, media_schema);
        for media in response.content.values_mut() {
            media.example = Some(example.clone());
        }
        if status == StatusCode::CREATED {
            response.headers.extend([header("Location", "Its path.")]);
        }
        if self.codes.contains(&Code::IdempotencyKeyReused) {
            let replayed = "`true` on a repeat under the same Idempotency-Key.";
            response.headers.extend([header("Idempotency-Replayed", replayed)]);
        }
        self.operation.responses.responses.insert(status.as_u16().to_string(), response.into());
        self
    }

    pub fn refuses(mut self, codes: impl IntoIterator<Item = Code>) -> Self {
        self.codes.extend(codes);
        self
    }

    /// The operation, with a response for each status: its problems by code.
    pub fn operation(mut self) -> Operation {
        let problem = self.generator.subschema_for::<ProblemBody>().into_object();
        let responses = &mut self.operation.responses.responses;
        for code in &self.codes {
            let status = code.status();
            let refusal = responses
                .entry(status.as_u16().to_string())
                .or_insert_with(|| response(status, "application/problem+json", problem.clone()).into());
            let RefOr::Object(refusal) = refusal else { continue };
            for media in refusal.content.values_mut() {
                let example = Example {
                    summary: Some(code.title().to_owned()),
                    description: None,
                    value: ExampleValue::Value(example::problem(*code)),
                    extensions: Map::new(),
                };
                media.examples.get_or_insert_default().insert(code.word().to_owned(), example);
            }
        }
        for (status, response) in responses {
            let RefOr::Object(response) = response else { continue };
            response.headers.extend(match status.as_str() {
                "401" => Some(header("WWW-Authenticate", "`Bearer`.")),
                "405" => Some(header("Allow", "The methods that this path answers.")),
                "503" => Some(header("Retry-After", "Seconds to wait before the next try.")),
                _ => None,
            });
            response.headers.extend([
                header("X-Request-Id", "The request's id."),
                header("Server-Timing", "Milliseconds spent: `db` on the database, `total` in all."),
            ]);
        }
        self.operation
    }
}

fn response(status: StatusCode, media_type: &str, schema: SchemaObject) -> Response {
    let media = MediaType { schema: Some(schema), ..MediaType::default() };
    Response {
        description: status.canonical_reason().unwrap_or_default().to_owned(),
        content: Map::from_iter([(media_type.to_owned(), media)]),
        ..Response::default()
    }
}

fn header(name: &str, description: &str) -> (String, RefOr<Header>) {
    let header = Header {
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        allow_empty_value: false,
        value: parameter_value(schema(json!({ "type": "string" })), None),
        extensions: Map::new(),
    };
    (name.to_owned(), header.into())
}

fn parameter_value(schema: SchemaObject, example: Option<Value>) -> ParameterValue {
    ParameterValue::Schema { style: None, explode: None, allow_reserved: false, schema, example, examples: None }
}

/// A schema written as JSON.
pub(super) fn schema(json: Value) -> SchemaObject {
    serde_json::from_value(json).unwrap_or_default()
}
