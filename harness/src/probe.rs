//! Finds out how a deployment names things by using it once, one call at a time: create, read, hold, read, confirm,
//! cancel, and a hold that lapses. What it cannot recognise it says in one sentence, and a dialect file decides.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    answers,
    connection::{Connection, Origin},
    dialect::{Dialect, Send, Unit},
    history::{Answer, Outcome, Request},
    target::{Keys, bearer},
};

/// The probe's item has a number of units that no other field of an answer is likely to show by accident.
const TOTAL: i64 = 9_173;

/// What was found.
pub struct Probed {
    /// How to speak with the deployment.
    pub dialect: Dialect,
    /// What is not as the assignment's own words would have it, in sentences.
    pub found: Vec<String>,
}

/// Uses the deployment once. `file` is a dialect file's text: what it says is not probed but believed.
pub async fn probe(
    origin: &Origin,
    keys: &Keys,
    wait: Duration,
    run: &str,
    file: Option<&str>,
) -> Result<Probed, String> {
    let given = match file {
        Some(file) => Dialect::default().overridden(file)?,
        None => Dialect::default(),
    };
    let mut probe = Probe {
        origin,
        keys,
        wait,
        run,
        dialect: given,
        connection: None,
        found: Vec::new(),
        customers: 0,
        shows_deadline: false,
    };
    let item = probe.create().await?;
    probe.fields(&item).await?;
    probe.repeats(&item).await?;
    probe.refusal(&item).await?;
    probe.deadlines(&item).await?;
    probe.keys(&item).await?;
    let dialect = match file {
        Some(file) => probe.dialect.overridden(file)?,
        None => probe.dialect,
    };
    Ok(Probed { dialect, found: probe.found })
}

/// Whether anybody listens.
pub async fn answers(origin: &Origin, wait: Duration) -> Result<(), String> {
    let opened = timeout(wait, Connection::open(origin)).await;
    opened
        .map_err(|_| "the deployment does not answer: no connection in time".to_owned())?
        .map(|_| ())
        .map_err(|error| format!("the deployment does not answer: {error}"))
}

struct Probe<'p> {
    origin: &'p Origin,
    keys: &'p Keys,
    wait: Duration,
    run: &'p str,
    dialect: Dialect,
    connection: Option<Connection>,
    found: Vec<String>,
    customers: u32,
    shows_deadline: bool,
}

/// An answer, read and raw.
struct Heard {
    status: u16,
    outcome: Outcome,
    body: Value,
}

impl Probe<'_> {
    async fn ask(&mut self, request: &Request) -> Result<Heard, String> {
        let unreachable = |error: String| format!("the deployment does not answer: {error}");
        let asked = timeout(self.wait, self.exchange(request)).await;
        asked.map_err(|_| unreachable("no answer in time".to_owned()))?.map_err(|error| unreachable(error.to_string()))
    }

    async fn exchange(&mut self, request: &Request) -> std::io::Result<Heard> {
        let (method, path, body) =
            self.dialect.write(request).ok_or_else(|| std::io::Error::other("the dialect has no such route"))?;
        let bearer = bearer(self.keys, request);
        let mut headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        if let Request::Reserve { key: Some(key), .. } = request {
            headers.push(("Idempotency-Key", key));
        }
        let mut connection = match self.connection.take().filter(Connection::is_warm) {
            Some(connection) => connection,
            None => Connection::open(self.origin).await?,
        };
        connection.load(&self.origin.request(&method, &path, &headers, body.as_deref())).await?;
        connection.release().await?;
        let response = connection.response().await?;
        self.connection = Some(connection);
        let body = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        Ok(Heard { status: response.status, outcome: answers::outcome(&self.dialect, request, &response), body })
    }

    fn reservation(&mut self, item: &str, quantity: i64, ttl_ms: Option<u64>) -> Request {
        self.customers += 1;
        let customer = format!("01900000-0000-4000-8000-{:012}", self.customers);
        Request::Reserve { item: item.to_owned(), customer, quantity, ttl_ms, key: None }
    }

    /// Creates the probe's item, in the first spelling that the deployment takes.
    async fn create(&mut self) -> Result<String, String> {
        let request = Request::CreateItem { name: format!("harness {} probe", self.run), total: TOTAL };
        let mut last = None;
        for spelling in spellings(&self.dialect.send) {
            self.dialect.send = spelling;
            let heard = self.ask(&request).await?;
            match heard.outcome {
                Outcome::Ok(Answer::Item(item)) => {
                    if self.dialect.send.total != Send::default().total {
                        self.found.push(format!("an item's units are sent as {}", self.dialect.send.total));
                    }
                    return item.id.ok_or_else(|| "the created item shows no id".to_owned());
                }
                _ if matches!(heard.status, 400 | 422) => last = Some(heard),
                _ => return Err(not_understood("an item could not be created", &heard)),
            }
        }
        Err(last.map_or_else(
            || "an item could not be created".to_owned(),
            |heard| not_understood("an item could not be created", &heard),
        ))
    }

    async fn hold(&mut self, item: &str, quantity: i64) -> Result<String, String> {
        let request = self.reservation(item, quantity, None);
        let mut heard = self.ask(&request).await?;
        if matches!(heard.status, 400 | 422) && self.dialect.send.item == "item_id" {
            let snake = self.dialect.send.clone();
            let Send { item, customer, .. } = camel();
            self.dialect.send = Send { item, customer, ..snake.clone() };
            heard = self.ask(&request).await?;
            if heard.outcome.is_ok() {
                self.found.push("request fields are in camel case".to_owned());
            } else {
                self.dialect.send = snake;
            }
        }
        match heard.outcome.reservation().and_then(|view| view.id.clone()) {
            Some(id) => {
                let view = heard.outcome.reservation();
                self.shows_deadline = view.is_some_and(|view| view.ttl_ms.is_some());
                Ok(id)
            }
            None => Err(not_understood(&format!("{quantity} of {TOTAL} units could not be reserved"), &heard)),
        }
    }

    async fn numbers(&mut self, item: &str) -> Result<(BTreeMap<String, i64>, Heard), String> {
        let heard = self.ask(&Request::GetItem { item: item.to_owned() }).await?;
        if !(200..300).contains(&heard.status) {
            return Err(not_understood("the item could not be read", &heard));
        }
        let mut leaves = BTreeMap::new();
        collect(&heard.body, String::new(), &mut leaves);
        Ok((leaves, heard))
    }

    /// Which field is which: by its usual name, if what it says fits; otherwise by what it says.
    async fn fields(&mut self, item: &str) -> Result<(), String> {
        let (fresh, fresh_heard) = self.numbers(item).await?;
        let id = self.hold(item, 2).await?;
        let (held, held_heard) = self.numbers(item).await?;
        let confirmed = self.ask(&Request::Confirm { reservation: id.clone() }).await?;
        if !confirmed.outcome.is_ok() {
            return Err(not_understood("a live hold could not be confirmed", &confirmed));
        }
        let (sold, sold_heard) = self.numbers(item).await?;
        let read = self.ask(&Request::GetReservation { reservation: id }).await;
        if !read.is_ok_and(|heard| heard.outcome.is_ok()) {
            self.dialect.routes.get_reservation = String::new();
            self.found.push("a reservation cannot be read by its id".to_owned());
        }

        let views =
            [&fresh_heard, &held_heard, &sold_heard].map(|heard| heard.outcome.item().cloned().unwrap_or_default());
        let named =
            |word: fn(&crate::history::ItemView) -> Option<i64>| [word(&views[0]), word(&views[1]), word(&views[2])];
        let behaves = |series: [i64; 3]| {
            let fits = |path: &&String| {
                [&fresh, &held, &sold].iter().zip(series).all(|(leaves, value)| leaves.get(*path) == Some(&value))
            };
            fresh.keys().find(fits).cloned()
        };
        let left = TOTAL - 2;
        let choices = [
            ("available", named(|view| view.available), [TOTAL, left, left], 2),
            ("held", named(|view| view.held), [0, 2, 0], 2),
            ("confirmed", named(|view| view.confirmed), [0, 0, 2], 2),
            ("total", named(|view| view.total), [TOTAL, TOTAL, TOTAL], 3),
        ];
        for (word, shown, expected, sure) in choices {
            // What a confirm does to a counter is for the scenarios to judge, not for the probe to require.
            if shown.iter().zip(expected).take(sure).all(|(shown, expected)| *shown == Some(expected)) {
                continue;
            }
            let path = behaves(expected);
            match &path {
                Some(path) => self.found.push(format!("{word} is shown as {path}")),
                None if word == "available" => {
                    return Err(format!(
                        "after a hold of 2, no number of the item's answer shows that {left} of {TOTAL} units are left: {}",
                        short(&held_heard.body)
                    ));
                }
                None => self.found.push(format!("{word} is not shown")),
            }
            let read = &mut self.dialect.read;
            let place = match word {
                "available" => &mut read.available,
                "held" => &mut read.held,
                "confirmed" => &mut read.confirmed,
                _ => &mut read.total,
            };
            *place = Some(path.unwrap_or_default());
        }
        Ok(())
    }

    /// What a repeated confirm and a repeated cancel are answered.
    async fn repeats(&mut self, item: &str) -> Result<(), String> {
        let confirmed = self.hold(item, 1).await?;
        let request = Request::Confirm { reservation: confirmed };
        self.ask(&request).await?;
        self.dialect.behaviour.repeated_confirm_is_ok = self.ask(&request).await?.outcome.is_ok();
        let cancelled = self.hold(item, 1).await?;
        let request = Request::Cancel { reservation: cancelled };
        let first = self.ask(&request).await?;
        if !first.outcome.is_ok() {
            return Err(not_understood("a live hold could not be cancelled", &first));
        }
        self.dialect.behaviour.repeated_cancel_is_ok = self.ask(&request).await?.outcome.is_ok();
        for (verb, ok) in [
            ("confirm", self.dialect.behaviour.repeated_confirm_is_ok),
            ("cancel", self.dialect.behaviour.repeated_cancel_is_ok),
        ] {
            if !ok {
                self.found.push(format!("a repeated {verb} is refused"));
            }
        }
        Ok(())
    }

    /// What asking for too much is answered.
    async fn refusal(&mut self, item: &str) -> Result<(), String> {
        let request = self.reservation(item, TOTAL, None);
        let heard = self.ask(&request).await?;
        let exact = heard.body.get("code").and_then(Value::as_str) == Some("insufficient_availability");
        self.dialect.behaviour.exact_reasons = exact;
        if !exact {
            self.found.push("refusals give no exact reasons, so only that they refuse is checked".to_owned());
        }
        if let Outcome::Refused(crate::history::Reason::Invalid | crate::history::Reason::Contention) = heard.outcome {
            self.dialect.behaviour.insufficient_status = Some(heard.status);
        }
        if heard.status != 409 {
            self.found.push(format!("asking for too much is answered {}", heard.status));
        }
        Ok(())
    }

    /// Whether, and in which words, a caller can set a short deadline, and what passing it does.
    async fn deadlines(&mut self, item: &str) -> Result<(), String> {
        let spelled = self.dialect.send.clone();
        let given = [(spelled.ttl.as_str(), spelled.ttl_unit)];
        let known = if spelled.ttl == Send::default().ttl { TTL_SPELLINGS } else { &given };
        for (name, unit) in known.iter().filter(|(name, _)| !name.is_empty()) {
            self.dialect.send = Send { ttl: (*name).to_owned(), ttl_unit: *unit, ..spelled.clone() };
            if self.deadline_is_kept(item).await? {
                if *name != Send::default().ttl || *unit != Unit::Seconds {
                    self.found.push(format!("a deadline is sent as {name}, in {unit:?}"));
                }
                return self.lapse(item).await;
            }
        }
        self.dialect.send = Send { ttl: String::new(), ..spelled };
        self.found.push("a caller cannot set a short deadline".to_owned());
        Ok(())
    }

    /// Whether a hold with a short deadline is over soon after it.
    async fn deadline_is_kept(&mut self, item: &str) -> Result<bool, String> {
        let ttl_ms = self.dialect.ttl_ms(80);
        let request = self.reservation(item, 1, Some(ttl_ms));
        let heard = self.ask(&request).await?;
        let Some(view) = heard.outcome.reservation() else { return Ok(false) };
        match view.ttl_ms {
            // Where both instants are shown, nothing needs waiting for.
            Some(shown) => Ok(shown.abs_diff(ttl_ms) <= 20),
            None => {
                sleep(Duration::from_millis(ttl_ms + 150)).await;
                self.ask(&Request::Expire).await?;
                let id = view.id.clone().unwrap_or_default();
                Ok(!self.ask(&Request::Confirm { reservation: id }).await?.outcome.is_ok())
            }
        }
    }

    /// Whether a lapsed hold stops counting by itself.
    async fn lapse(&mut self, item: &str) -> Result<(), String> {
        let ttl_ms = self.dialect.ttl_ms(40);
        let available = |heard: &Heard| heard.outcome.item().and_then(|view| view.available);
        let request = self.reservation(item, 5, Some(ttl_ms));
        let held = self.ask(&request).await?;
        if numeric_deadline(&held.body) {
            self.dialect.behaviour.deadline_rounding_ms = 1_000;
        }
        let (_, before) = self.numbers(item).await?;
        sleep(Duration::from_millis(ttl_ms + 60 + self.dialect.behaviour.deadline_rounding_ms)).await;
        let (_, after) = self.numbers(item).await?;
        let freed = available(&after).zip(available(&before)).is_some_and(|(after, before)| after >= before + 5);
        self.dialect.behaviour.lapse_frees_at_once = freed;
        if !freed {
            self.found.push("a lapsed hold counts until a sweep has recorded it".to_owned());
        }
        Ok(())
    }

    /// Whether a repeated reservation under one key is one reservation.
    async fn keys(&mut self, item: &str) -> Result<(), String> {
        let mut request = self.reservation(item, 1, None);
        if let Request::Reserve { key, .. } = &mut request {
            *key = Some(format!("harness-{}-probe", self.run));
        }
        let id = |heard: &Heard| heard.outcome.reservation().and_then(|view| view.id.clone());
        let first = self.ask(&request).await?;
        let second = self.ask(&request).await?;
        let honoured = id(&first).is_some() && id(&first) == id(&second);
        self.dialect.behaviour.idempotency_key = honoured;
        if !honoured {
            self.found.push("an Idempotency-Key is not honoured".to_owned());
        }
        for heard in [first, second] {
            if let Some(id) = id(&heard) {
                self.ask(&Request::Cancel { reservation: id }).await?;
            }
        }
        Ok(())
    }
}

const TTL_SPELLINGS: &[(&str, Unit)] = &[
    ("ttl_seconds", Unit::Seconds),
    ("ttl_seconds", Unit::WholeSeconds),
    ("ttlSeconds", Unit::Seconds),
    ("ttlSeconds", Unit::WholeSeconds),
    ("ttl_ms", Unit::Milliseconds),
    ("ttlMs", Unit::Milliseconds),
    ("ttl", Unit::WholeSeconds),
    ("expires_in_seconds", Unit::WholeSeconds),
    ("expiresInSeconds", Unit::WholeSeconds),
    ("hold_seconds", Unit::WholeSeconds),
    ("duration_seconds", Unit::WholeSeconds),
];

fn camel() -> Send {
    Send {
        total: "initialQuantity".to_owned(),
        item: "itemId".to_owned(),
        customer: "customerId".to_owned(),
        ..Send::default()
    }
}

/// The given spelling alone, if it was given; otherwise the assignment's and its usual variants.
fn spellings(given: &Send) -> Vec<Send> {
    if given.total != Send::default().total || given.name != Send::default().name {
        return vec![given.clone()];
    }
    let total = |name: &str| Send { total: name.to_owned(), ..given.clone() };
    vec![given.clone(), total("initialQuantity"), total("total_quantity"), total("totalQuantity"), total("quantity")]
}

fn not_understood(what: &str, heard: &Heard) -> String {
    let hint = match heard.status {
        401 | 403 => "; give --api-key",
        404 | 405 => "; is this the base URL of an inventory reservation API? A dialect file can name other routes",
        200..=299 => "; a dialect file can say what its fields are called",
        _ => "",
    };
    format!("{what}: answered {} {}{hint}", heard.status, short(&heard.body))
}

fn short(body: &Value) -> String {
    let text = body.to_string();
    if text.chars().count() <= 240 { text } else { format!("{} …", text.chars().take(240).collect::<String>()) }
}

/// Every number of an answer, with its path.
fn collect(value: &Value, path: String, leaves: &mut BTreeMap<String, i64>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(value, below(name), leaves)),
        Value::Number(number) => {
            leaves.extend(number.as_i64().map(|number| (path, number)));
        }
        Value::String(text) => {
            leaves.extend(text.parse().ok().map(|number| (path, number)));
        }
        _ => {}
    }
}

/// Whether a deadline is shown in whole seconds since the epoch, and so may lie a second early.
fn numeric_deadline(body: &Value) -> bool {
    match body {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let deadline =
                name.to_ascii_lowercase().contains("expir") && value.as_i64().is_some_and(|at| at < 100_000_000_000);
            deadline || numeric_deadline(value)
        }),
        _ => false,
    }
}
