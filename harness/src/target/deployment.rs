//! One deployment: its instances, the keys it wants, how it names things. It knows how to write a request and read an
//! answer; `client` does the calling.

use std::{sync::Arc, time::Duration};

use url::Url;

use crate::{
    history::{Answer, Outcome, Recorder, Request},
    target::{
        answers,
        connection::{Origin, Response},
        dialect::{AUTHORIZATION, Dialect, Written},
        http2::Ask,
        pace::Pace,
    },
};

/// A deployment to be raced. Cheap to clone: all clones share one history.
#[derive(Clone)]
pub struct Target {
    shared: Arc<Shared>,
    pace: Pace,
    http2: bool,
    renames: bool,
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
    /// Further headers of every call.
    pub headers: Vec<Header>,
}

/// A header that every call carries.
#[derive(Clone)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value: never printed.
    pub value: String,
    /// What is printed instead: the variable it came from, or `…`.
    pub shown: String,
}

impl Keys {
    /// The headers that let a request in, and the one that carries its idempotency key.
    pub(crate) fn headers<'k>(
        &'k self,
        dialect: &'k Dialect,
        request: &Request,
        key: Option<&'k str>,
    ) -> Vec<(&'k str, String)> {
        let mut headers = Vec::new();
        match (request, &self.cron_secret, &self.api_key) {
            (Request::Expire, Some(secret), _) => headers.push((AUTHORIZATION, format!("Bearer {secret}"))),
            (_, _, Some(key)) => headers.push((dialect.send.api_key_header.as_str(), named(dialect, key))),
            _ => {}
        }
        headers.extend(self.headers.iter().map(|header| (header.name.as_str(), header.value.clone())));
        headers.extend(key.map(|key| (dialect.send.key_header.as_str(), key.to_owned())));
        headers
    }

    /// The same as options of `curl`, without a secret.
    fn shown(&self, dialect: &Dialect, request: &Request) -> String {
        let mut options = match (request, &self.cron_secret, &self.api_key) {
            (Request::Expire, Some(_), _) => " -H \"Authorization: Bearer $CRON_SECRET\"".to_owned(),
            (_, _, Some(_)) => format!(" -H \"{}: {}\"", dialect.send.api_key_header, named(dialect, "$API_KEY")),
            _ => String::new(),
        };
        for header in &self.headers {
            options.push_str(&format!(" -H \"{}: {}\"", header.name, header.shown));
        }
        options
    }
}

fn named(dialect: &Dialect, key: &str) -> String {
    let bearer = dialect.send.api_key_header.eq_ignore_ascii_case(AUTHORIZATION);
    if bearer { format!("Bearer {key}") } else { key.to_owned() }
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
        let origins = urls.iter().map(Origin::parse).collect::<Result<_, _>>()?;
        Target::at(origins, dialect, keys, timeout, recorder)
    }

    /// The same where the base URLs were read before.
    pub fn at(
        origins: Vec<Origin>,
        dialect: Dialect,
        keys: Keys,
        timeout: Duration,
        recorder: Recorder,
    ) -> Result<Self, String> {
        if origins.is_empty() {
            return Err("no --url was given".to_owned());
        }
        let urls = origins.iter().map(Origin::shown).collect();
        let shared = Arc::new(Shared { origins, urls, dialect, keys, timeout, recorder });
        Ok(Target { shared, pace: Pace::default(), http2: false, renames: false })
    }

    /// The same deployment, asked at a pace that others keep too.
    pub fn at_the_pace_of(self, pace: &Pace) -> Self {
        Target { pace: pace.clone(), ..self }
    }

    /// The same deployment, whose items are used more than once: the history calls them otherwise each time.
    pub fn renaming_items(self) -> Self {
        Target { renames: true, ..self }
    }

    /// How fast the deployment lets itself be asked.
    pub fn pace(&self) -> &Pace {
        &self.pace
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
        let Written { method, path, key, body } = self.dialect().write(&named_as_there(request))?;
        let headers = self.shared.keys.headers(self.dialect(), request, key.as_deref());
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Some(write(&method, &path, &headers, body.as_deref()))
    }

    pub(crate) fn read(&self, request: &Request, response: &Response) -> Outcome {
        let outcome = answers::outcome(self.dialect(), request, response);
        if self.renames { named_as_here(request, outcome) } else { outcome }
    }

    /// What the history calls an item that is used more than once.
    pub(crate) fn renamed(&self, item: &str, turn: u64) -> String {
        if self.renames { format!("{item}{TURN}{turn}") } else { item.to_owned() }
    }

    /// A line for a shell that sends the request again; keys are named, not shown.
    pub fn curl(&self, instance: u32, request: &Request) -> Option<String> {
        let Written { method, path, key, body } = self.dialect().write(&named_as_there(request))?;
        let base = &self.urls()[instance as usize % self.urls().len()];
        let mut line = format!("curl -X {method} '{}{path}'", base.trim_end_matches('/'));
        line.push_str(&self.shared.keys.shown(self.dialect(), request));
        if let Some(key) = key {
            let key = if request.key().is_some() { key } else { "$(uuidgen)".to_owned() };
            line.push_str(&format!(" -H \"{}: {key}\"", self.dialect().send.key_header));
        }
        if let Some(body) = body {
            line.push_str(&format!(" -H 'Content-Type: application/json' -d '{body}'"));
        }
        Some(line)
    }
}

/// Between an item's own id and the number of its turn.
const TURN: &str = " #";

/// The deployment's own id of an item.
pub fn own(item: &str) -> &str {
    item.rsplit_once(TURN).map_or(item, |(own, _)| own)
}

/// A request as the deployment must see it.
fn named_as_there(request: &Request) -> Request {
    let mut request = request.clone();
    if let Request::GetItem { item } | Request::Reserve { item, .. } | Request::ReserveOdd { item, .. } = &mut request {
        *item = own(item).to_owned();
    }
    request
}

/// An outcome as the history must see it. An answer to a call that names no item cannot say which turn it is about.
fn named_as_here(request: &Request, mut outcome: Outcome) -> Outcome {
    let asked = match request {
        Request::GetItem { item } | Request::Reserve { item, .. } | Request::ReserveOdd { item, .. } => Some(item),
        _ => None,
    };
    let shown = match &mut outcome {
        Outcome::Ok(Answer::Item(view)) => &mut view.id,
        Outcome::Ok(Answer::Reservation(view)) => &mut view.item,
        _ => return outcome,
    };
    if asked.is_none_or(|asked| shown.as_deref() == Some(own(asked))) {
        *shown = asked.cloned();
    }
    outcome
}
