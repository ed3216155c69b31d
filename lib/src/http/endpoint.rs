//! What an endpoint is: one row of the route table, what answers it, and its part of the document.

use axum::routing::MethodRouter;

use super::access::{Access, AccessRule};
use super::description::Description;
use super::service::Service;

/// One endpoint. Routes, document, function files, `vercel.json` and the README's table are made from it.
#[derive(Debug)]
pub struct Endpoint {
    /// The verb: the operation's id, the function file, the module, the `.sql`.
    pub operation: &'static str,
    /// Methods it answers, the usual one first. Where GET is the only one it answers HEAD too.
    pub methods: &'static [&'static str],
    /// Its path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Who may call it.
    pub access: AccessRule,
    /// What serves it where each function is a file.
    pub function: Function,
    /// What it does, in one line.
    pub summary: &'static str,
    pub(crate) handlers: fn() -> MethodRouter<Service>,
    /// Its part of the document; none for the files of the document's own page.
    pub(crate) describe: Option<fn(Description) -> Description>,
}

/// What serves an endpoint on a platform that deploys function files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// A function of its own, under every plan.
    Own,
    /// The function `others`, where the plan's functions are few; else one of its own.
    Shared,
    /// A static file.
    Static,
}

impl Endpoint {
    /// Whether a path has this endpoint's shape.
    pub fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let fits = self.path.split('/').all(|pattern| {
            segments.next().is_some_and(|segment| pattern == segment || pattern.starts_with('{') && !segment.is_empty())
        });
        fits && segments.next().is_none()
    }

    /// Whether it answers a method. A GET that changes something is the platform's cron's: it is answered where the cron has
    /// a secret, and HEAD is not, because a safe method changes nothing (RFC 9110, 9.2.1).
    pub fn answers(&self, method: &str, access: &Access) -> bool {
        match method {
            "HEAD" => self.methods == ["GET"],
            "GET" if self.methods.len() > 1 => self.methods.contains(&"GET") && access.has_cron_secret(),
            method => self.methods.contains(&method),
        }
    }

    /// The methods it answers, the usual one first.
    pub fn allowed_methods(&self, access: &Access) -> impl Iterator<Item = &'static str> {
        self.methods.iter().copied().chain(["HEAD"]).filter(|method| self.answers(method, access))
    }
}
