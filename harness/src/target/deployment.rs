//! One deployment: its instances, the keys it wants, how it names things. It knows how to write a request and read an
//! answer; `client` does the calling.

use std::{sync::Arc, time::Duration};

use url::Url;

use crate::{
    history::{Outcome, Recorder, Request},
    target::{
        answers,
        connection::{Origin, Response},
        dialect::Dialect,
        http2::Ask,
    },
};

/// A deployment to be raced. Cheap to clone: all clones share one history.
#[derive(Clone)]
pub struct Target {
    shared: Arc<Shared>,
    http2: bool,
}

struct Shared {
    origins: Vec<Origin>,
    urls: Vec<String>,
    dialect: Dialect,
    keys: Keys,
    timeout: Duration,
    recorder: Recorder,
}

/// What a deployment wants before it answers. Never printed, never part of a history.
#[derive(Clone, Default)]
pub struct Keys {
    /// The bearer token of every call.
    pub api_key: Option<String>,
    /// The bearer token of maintenance calls, where it is another.
    pub cron_secret: Option<String>,
}

impl Target {
    /// A deployment behind one or more base URLs.
    pub fn new(
        urls: &[Url],
        dialect: Dialect,
        keys: Keys,
        timeout: Duration,
        recorder: Recorder,
    ) -> Result<Self, String> {
        if urls.is_empty() {
            return Err("no --url was given".to_owned());
        }
        let origins = urls.iter().map(Origin::parse).collect::<Result<_, _>>()?;
        let urls = urls.iter().map(without_secrets).collect();
        Ok(Target { shared: Arc::new(Shared { origins, urls, dialect, keys, timeout, recorder }), http2: false })
    }

    /// The same deployment, with bursts over HTTP/2; calls that are made alone stay on HTTP/1.1. Whether every instance
    /// speaks it, `http2::is_spoken` says.
    pub fn over_http2(self) -> Self {
        Target { http2: true, ..self }
    }

    /// Whether bursts go over HTTP/2.
    pub fn http2(&self) -> bool {
        self.http2
    }

    /// How many instances share the deployment's database.
    pub fn instances(&self) -> usize {
        self.shared.origins.len()
    }

    /// The base URLs, fit to be printed.
    pub fn urls(&self) -> &[String] {
        &self.shared.urls
    }

    /// How this deployment names things.
    pub fn dialect(&self) -> &Dialect {
        &self.shared.dialect
    }

    /// The run's clock and history.
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// How long one call may take.
    pub fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    pub(crate) fn origin(&self, instance: usize) -> &Origin {
        &self.shared.origins[instance % self.shared.origins.len()]
    }

    /// The bytes of a request; nothing where the deployment has no such route.
    pub(crate) fn write(&self, instance: usize, request: &Request) -> Option<Vec<u8>> {
        let origin = self.origin(instance);
        self.written(request, |method, path, headers, body| origin.request(method, path, headers, body))
    }

    /// A request for HTTP/2; nothing where the deployment has no such route.
    pub(crate) fn ask(&self, instance: usize, request: &Request) -> Option<Ask> {
        let origin = self.origin(instance);
        self.written(request, |method, path, headers, body| Ask::new(origin, method, path, headers, body).ok())
            .flatten()
    }

    fn written<T>(
        &self,
        request: &Request,
        write: impl FnOnce(&str, &str, &[(&str, &str)], Option<&str>) -> T,
    ) -> Option<T> {
        let (method, path, body) = self.dialect().write(request)?;
        let bearer = bearer(&self.shared.keys, request);
        let mut headers = Vec::new();
        if let Some(bearer) = &bearer {
            headers.push(("Authorization", bearer.as_str()));
        }
        if let Some(key) = request.key() {
            headers.push(("Idempotency-Key", key));
        }
        Some(write(&method, &path, &headers, body.as_deref()))
    }

    pub(crate) fn read(&self, request: &Request, response: &Response) -> Outcome {
        answers::outcome(self.dialect(), request, response)
    }

    /// A line for a shell that sends the request again; keys are named, not shown.
    pub fn curl(&self, instance: u32, request: &Request) -> Option<String> {
        let (method, path, body) = self.dialect().write(request)?;
        let base = &self.urls()[instance as usize % self.urls().len()];
        let mut line = format!("curl -X {method} '{}{path}'", base.trim_end_matches('/'));
        let keys = &self.shared.keys;
        match request {
            Request::Expire if keys.cron_secret.is_some() => {
                line.push_str(" -H \"Authorization: Bearer $CRON_SECRET\"")
            }
            _ if keys.api_key.is_some() => line.push_str(" -H \"Authorization: Bearer $API_KEY\""),
            _ => {}
        }
        if let Some(body) = body {
            line.push_str(&format!(" -H 'Content-Type: application/json' -d '{body}'"));
        }
        Some(line)
    }
}

pub(crate) fn bearer(keys: &Keys, request: &Request) -> Option<String> {
    let key = match request {
        Request::Expire => keys.cron_secret.as_ref().or(keys.api_key.as_ref()),
        _ => keys.api_key.as_ref(),
    };
    key.map(|key| format!("Bearer {key}"))
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail on a URL that has a host, which `Origin::parse` has seen to.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}
