//! The HTTP API over a real connection: every answer's status, code and header fields, and that the OpenAPI document
//! knows each of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../common/mod.rs"]
mod common;

mod api;
mod bodies;
mod calls;
mod document;
mod retries;
mod validation;
