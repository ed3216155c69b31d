//! Finds out how a deployment names things by using it once, one call at a time: create, read, hold, read, confirm,
//! cancel, and a hold that lapses. What it cannot recognise it says in one sentence, and a dialect file decides.

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    history::{Answer, Outcome, Reason, Request},
    target::{
        answers,
        connection::{Connection, Origin},
        deployment::Keys,
        dialect::{AUTHORIZATION, Dialect, Send, Written},
        pace::Pace,
        reasons,
    },
};

mod deadlines;
mod spellings;

/// The probe's item has a number of units that no other field of an answer is likely to show by accident.
const TOTAL: i64 = 9_173;

/// And a small one, to ask too much of: one more than is left, which no limit on one reservation forbids.
const FEW: i64 = 1;

/// The largest quantity that the scenarios hold in one reservation, and the one that the probe has held before.
const MOST: i64 = 5;
const HELD_BEFORE: i64 = 2;

/// How long an answer may lag behind while the probe still waits for it.
const LAG: Duration = Duration::from_millis(150);
const LAGS_MAX: u32 = 20;

/// What was found.
pub struct Probed {
    /// How to speak with the deployment.
    pub dialect: Dialect,
    /// What is not as the assignment's own words would have it, in sentences.
    pub found: Vec<String>,
    /// The item it used.
    pub item: String,
}

/// Moves deadlines behind the callers' backs, where no caller can set a short one.
pub trait Mover: std::marker::Send {
    /// Gives a reservation a deadline so many milliseconds from now.
    fn move_deadline<'m>(&'m mut self, reservation: &'m str, milliseconds: u64) -> BoxFuture<'m, Result<(), String>>;
}

/// Makes items, or resets them, where the API cannot.
pub trait Stager: std::marker::Send {
    /// An item of so many units, all of them free; its id.
    fn stage<'s>(&'s mut self, name: &'s str, total: i64) -> BoxFuture<'s, Result<String, String>>;
}

/// What the caller does behind the API's back.
#[derive(Default)]
pub struct Backstage {
    /// Moves deadlines.
    pub mover: Option<Box<dyn Mover>>,
    /// Makes items.
    pub stager: Option<Box<dyn Stager>>,
}

/// One instance, and how it is asked.
#[derive(Clone, Copy)]
pub struct Asking<'p> {
    /// Where it listens.
    pub origin: &'p Origin,
    /// What it wants before it answers.
    pub keys: &'p Keys,
    /// How long one call may take.
    pub wait: Duration,
    /// The run's id, part of every item's name.
    pub run: &'p str,
    /// How fast it lets itself be asked.
    pub pace: &'p Pace,
}

/// Uses the deployment once, and finds out what `given` does not say.
pub async fn probe(asking: Asking<'_>, given: Dialect, backstage: Backstage) -> Result<Probed, String> {
    let mut probe = Probe::new(asking, given, backstage);
    let item = probe.create(TOTAL).await?;
    probe.fields(&item).await?;
    probe.repeats(&item).await?;
    probe.refusal().await?;
    probe.reasons(&item).await?;
    probe.most(&item).await?;
    probe.deadlines(&item).await?;
    probe.sweep().await?;
    probe.keys(&item).await?;
    Ok(Probed { dialect: probe.dialect, found: probe.found, item })
}

/// Uses the deployment once in the words of a dialect, and learns nothing: what is given is the contract.
pub async fn believe(asking: Asking<'_>, given: Dialect, backstage: Backstage) -> Result<Probed, String> {
    let mut probe = Probe { learns: false, ..Probe::new(asking, given.clone(), backstage) };
    let item = probe.create(TOTAL).await?;
    let (_, heard) = probe.numbers(&item).await?;
    if heard.outcome.item().and_then(|view| view.available) != Some(TOTAL) {
        return Err(not_understood(&format!("an item of {TOTAL} units does not show that they are available"), &heard));
    }
    for end in [|reservation| Request::Confirm { reservation }, |reservation| Request::Cancel { reservation }] {
        let request = end(probe.hold(&item, 1).await?);
        let heard = probe.ask(&request).await?;
        if !heard.outcome.is_ok() {
            return Err(not_understood(&format!("the {} of a live hold was refused", request.verb()), &heard));
        }
    }
    Ok(Probed { dialect: given, found: Vec::new(), item })
}

/// Whether an instance knows an item that was created at another one.
pub async fn knows(asking: Asking<'_>, dialect: &Dialect, item: &str) -> Result<(), String> {
    let mut probe = Probe::new(asking, dialect.clone(), Backstage::default());
    let mut last = None;
    for _ in 0..LAGS_MAX {
        let heard = probe.ask(&Request::GetItem { item: item.to_owned() }).await?;
        if heard.outcome.is_ok() {
            return Ok(());
        }
        last = Some(heard);
        sleep(LAG).await;
    }
    let answered = last.map_or_else(String::new, |heard| format!("{} {}", heard.status, short(&heard.body)));
    Err(format!(
        "the instances do not know each other's items: one that the first instance made is answered {answered}"
    ))
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
    asking: Asking<'p>,
    mover: Option<Box<dyn Mover>>,
    stager: Option<Box<dyn Stager>>,
    dialect: Dialect,
    /// Whether other words than the given ones are tried.
    learns: bool,
    connection: Option<Connection>,
    found: Vec<String>,
    customers: u32,
    holds: u32,
    items: u32,
}

/// An answer, read and raw.
struct Heard {
    status: u16,
    outcome: Outcome,
    body: Value,
}

impl<'p> Probe<'p> {
    fn new(asking: Asking<'p>, dialect: Dialect, Backstage { mover, stager }: Backstage) -> Self {
        Probe {
            asking,
            mover,
            stager,
            dialect,
            learns: true,
            connection: None,
            found: Vec::new(),
            customers: 0,
            holds: 0,
            items: 0,
        }
    }
}

impl Probe<'_> {
    /// One call, made again where the deployment says that it was not executed.
    async fn ask(&mut self, request: &Request) -> Result<Heard, String> {
        let unreachable = |error: String| format!("the deployment does not answer: {error}");
        loop {
            let asked = timeout(self.asking.wait, self.exchange(request)).await;
            let asked = asked.map_err(|_| unreachable("no answer in time".to_owned()))?;
            let (heard, limited) = asked.map_err(|error| unreachable(error.to_string()))?;
            if !limited {
                return Ok(heard);
            }
            tokio::select! {
                why = self.asking.pace.exhausted() => return Err(why),
                () = self.asking.pace.wait() => {}
            }
        }
    }

    async fn exchange(&mut self, request: &Request) -> std::io::Result<(Heard, bool)> {
        let Asking { origin, keys, pace, .. } = self.asking;
        let Written { method, path, key, body } =
            self.dialect.write(request).ok_or_else(|| std::io::Error::other("the dialect has no such route"))?;
        let headers = keys.headers(&self.dialect, request, key.as_deref());
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut connection = match self.connection.take().filter(Connection::is_warm) {
            Some(connection) => connection,
            None => Connection::open(origin).await?,
        };
        connection.load(&origin.request(&method, &path, &headers, body.as_deref())).await?;
        connection.release().await?;
        let response = connection.response().await?;
        self.connection = Some(connection);
        let limited = pace.note(&response);
        let body = answers::body(&response);
        let outcome = answers::outcome(&self.dialect, request, &response);
        Ok((Heard { status: response.status, outcome, body }, limited))
    }

    fn reservation(&mut self, item: &str, quantity: i64, ttl_ms: Option<u64>) -> Request {
        self.customers += 1;
        let customer = format!("01900000-0000-4000-8000-{:012}", self.customers);
        Request::Reserve { item: item.to_owned(), customer, quantity, ttl_ms, key: None }
    }

    /// Creates an item of the probe's own, the first one in the first spelling that the deployment takes.
    async fn create(&mut self, total: i64) -> Result<String, String> {
        self.items += 1;
        let name = format!("harness_{}_probe_{}", self.asking.run, self.items);
        if let Some(stager) = &mut self.stager {
            return stager.stage(&name, total).await;
        }
        let request = Request::CreateItem { name, total, key: None };
        let given = self.dialect.send.clone();
        let mut spellings = if self.learns { spellings::of_an_item(&given) } else { vec![given.clone()] };
        let mut last = None;
        while !spellings.is_empty() {
            self.dialect.send = spellings.remove(0);
            let heard = self.ask(&request).await?;
            if let Outcome::Ok(Answer::Item(item)) = heard.outcome {
                self.found.extend(spellings::differences(&given, &self.dialect.send));
                return item.id.ok_or_else(|| "the created item shows no id".to_owned());
            }
            let asked_for = self.asked_for(&request, &heard);
            let misspelt = matches!(heard.status, 400 | 422 | 428);
            last = Some(heard);
            match asked_for {
                Some(send) => spellings = spellings::of_an_item(&send),
                None if !misspelt => break,
                None => {}
            }
        }
        let what = "an item could not be created";
        Err(last.map_or_else(|| what.to_owned(), |heard| not_understood(what, &heard)))
    }

    /// What a refusal says that this deployment wants besides, where that can be guessed.
    fn asked_for(&self, request: &Request, heard: &Heard) -> Option<Send> {
        let send = &self.dialect.send;
        let bearer = send.api_key_header == AUTHORIZATION;
        match heard.status {
            _ if !self.learns => None,
            401 | 403 if bearer && self.asking.keys.api_key.is_some() => {
                Some(Send { api_key_header: "X-API-Key".to_owned(), ..send.clone() })
            }
            400 | 422 | 428 => spellings::asked_for(send, request, &reasons::told(&heard.body)),
            _ => None,
        }
    }

    /// Holds units, the first time in the first spelling that the deployment takes.
    async fn hold(&mut self, item: &str, quantity: i64) -> Result<String, String> {
        let given = self.dialect.send.clone();
        let worked = if self.learns { self.holds } else { 1 };
        let mut spellings = spellings::of_a_reservation(&given, worked);
        let mut first = None;
        while !spellings.is_empty() {
            self.dialect.send = spellings.remove(0);
            let request = self.reservation(item, quantity, None);
            let heard = self.ask(&request).await?;
            if let Some(view) = heard.outcome.reservation()
                && let Some(id) = view.id.clone()
            {
                self.dialect.behaviour.default_ttl_ms = view.ttl_ms;
                self.found.extend(spellings::differences(&given, &self.dialect.send));
                self.holds += 1;
                return Ok(id);
            }
            if let Some(send) = self.asked_for(&request, &heard) {
                spellings = spellings::of_a_reservation(&send, worked);
            }
            // A service without validation of its own lets its database complain.
            let misspelt = matches!(heard.status, 400 | 404 | 422 | 428 | 500);
            first.get_or_insert(heard);
            if !misspelt {
                break;
            }
        }
        self.dialect.send = given;
        let what = format!("{quantity} units of an item that has them could not be reserved");
        Err(first.map_or_else(|| what.clone(), |heard| not_understood(&what, &heard)))
    }

    /// How many units one reservation may hold, where that is fewer than the scenarios would like.
    async fn most(&mut self, item: &str) -> Result<(), String> {
        for quantity in (HELD_BEFORE + 1..=MOST).rev() {
            let request = self.reservation(item, quantity, None);
            let heard = self.ask(&request).await?;
            if let Some(id) = heard.outcome.reservation().and_then(|view| view.id.clone()) {
                self.ask(&Request::Cancel { reservation: id }).await?;
                break;
            }
            if !matches!(heard.outcome, Outcome::Refused(_)) {
                return Ok(());
            }
            self.dialect.behaviour.quantity_max = Some(quantity - 1);
        }
        let most = self.dialect.behaviour.quantity_max;
        self.found.extend(most.map(|most| format!("one reservation holds {most} units at most")));
        Ok(())
    }

    /// Whether there is a route that records lapsed holds.
    async fn sweep(&mut self) -> Result<(), String> {
        if self.dialect.routes.expire.is_empty() {
            return Ok(());
        }
        let heard = self.ask(&Request::Expire).await?;
        match heard.status {
            401 | 403 => return Err(not_understood("lapsed holds could not be recorded", &heard)),
            404 | 405 | 501 => self.dialect.routes.expire = String::new(),
            _ => return Ok(()),
        }
        self.found.push("there is no route that records lapsed holds".to_owned());
        Ok(())
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

    /// What the item shows once it shows something else. An answer that lags is a fault for the scenarios to find: they
    /// need to know the fields for that.
    async fn changed(
        &mut self,
        item: &str,
        before: &BTreeMap<String, i64>,
    ) -> Result<(BTreeMap<String, i64>, Heard), String> {
        for _ in 0..LAGS_MAX {
            let read = self.numbers(item).await?;
            if read.0 != *before {
                return Ok(read);
            }
            sleep(LAG).await;
        }
        self.numbers(item).await
    }

    /// Which field is which: by its usual name, if what it says fits; otherwise by what it says.
    async fn fields(&mut self, item: &str) -> Result<(), String> {
        let (fresh, fresh_heard) = self.numbers(item).await?;
        let id = self.hold(item, HELD_BEFORE).await?;
        let (held, held_heard) = self.changed(item, &fresh).await?;
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
            // Some count what is sold as taken, too, and show no other number of it: then there is nothing to compare.
            let taken = word == "held" && shown == [Some(0), Some(2), Some(2)] && views[2].confirmed.is_none();
            if !taken && shown.iter().zip(expected).take(sure).all(|(shown, expected)| *shown == Some(expected)) {
                continue;
            }
            let path = if taken { None } else { behaves(expected) };
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

    /// What asking for too much is answered: of an item so small that no limit on one reservation can be meant instead.
    async fn refusal(&mut self) -> Result<(), String> {
        let item = self.create(FEW).await?;
        self.hold(&item, FEW).await?;
        let request = self.reservation(&item, FEW, None);
        let heard = self.ask(&request).await?;
        self.dialect.behaviour.exact_reasons = code(&heard) == Some(Reason::InsufficientAvailability.word());
        if matches!(heard.outcome, Outcome::Refused(_)) && !self.dialect.behaviour.exact_reasons {
            self.dialect.behaviour.insufficient_status = Some(heard.status);
            self.dialect.behaviour.insufficient_says = Some(reasons::sentence(&heard.body));
        }
        if heard.status != 409 {
            self.found.push(format!("asking for too much is answered {}", heard.status));
        }
        Ok(())
    }

    /// Whether every refusal says exactly why, and not only the commonest one.
    async fn reasons(&mut self, item: &str) -> Result<(), String> {
        let confirmed = self.hold(item, 1).await?;
        self.ask(&Request::Confirm { reservation: confirmed.clone() }).await?;
        let late_cancel = self.ask(&Request::Cancel { reservation: confirmed }).await?;
        let cancelled = self.hold(item, 1).await?;
        self.ask(&Request::Cancel { reservation: cancelled.clone() }).await?;
        let late_confirm = self.ask(&Request::Confirm { reservation: cancelled }).await?;
        self.dialect.behaviour.exact_reasons &= code(&late_cancel) == Some(Reason::ReservationConfirmed.word())
            && code(&late_confirm) == Some(Reason::ReservationCancelled.word());
        self.dialect.behaviour.ends_told_apart = late_cancel.outcome.is_refused_for(Reason::ReservationConfirmed)
            && late_confirm.outcome.is_refused_for(Reason::ReservationCancelled);
        if !self.dialect.behaviour.exact_reasons {
            self.found.push("refusals give no exact reasons, so only that they refuse is checked".to_owned());
        }
        Ok(())
    }

    /// Whether a repeated reservation under one key is one reservation.
    async fn keys(&mut self, item: &str) -> Result<(), String> {
        let mut request = self.reservation(item, 1, None);
        if let Request::Reserve { key, .. } = &mut request {
            *key = Some(format!("harness-{}-probe", self.asking.run));
        }
        let id = |heard: &Heard| heard.outcome.reservation().and_then(|view| view.id.clone());
        let first = self.ask(&request).await?;
        let second = self.ask(&request).await?;
        let honoured = id(&first).is_some() && id(&first) == id(&second);
        self.dialect.behaviour.idempotency_key = honoured;
        self.dialect.behaviour.item_idempotency_key = honoured && self.stager.is_none() && self.item_keys().await?;
        if !honoured {
            self.found.push("an Idempotency-Key is not honoured".to_owned());
        }
        let mut made = vec![id(&first), id(&second)];
        if let (true, 2, Request::Reserve { quantity, .. }) = (honoured, self.dialect.quantity(2), &mut request) {
            *quantity = 2;
            let other = self.ask(&request).await?;
            self.dialect.behaviour.key_reuse_is_refused = !other.outcome.is_ok();
            made.push(id(&other));
        }
        made.dedup();
        for reservation in made.into_iter().flatten() {
            self.ask(&Request::Cancel { reservation }).await?;
        }
        Ok(())
    }

    /// Whether an item that is created again under one key is one item.
    async fn item_keys(&mut self) -> Result<bool, String> {
        let request = Request::CreateItem {
            name: format!("harness_{}_probe_of_keys_1", self.asking.run),
            total: FEW,
            key: Some(format!("harness-{}-probe-item", self.asking.run)),
        };
        let id = |heard: &Heard| heard.outcome.item().and_then(|view| view.id.clone());
        let first = self.ask(&request).await?;
        let second = self.ask(&request).await?;
        Ok(id(&first).is_some() && id(&first) == id(&second))
    }
}

fn code(heard: &Heard) -> Option<&str> {
    heard.body.get("code").and_then(Value::as_str)
}

fn not_understood(what: &str, heard: &Heard) -> String {
    let hint = match heard.status {
        401 | 403 => "; give --api-key, --cron-secret or --header",
        400 | 422 => {
            "; a dialect file can say what its fields are called, and name further ones: \
             [send] item_extra = { sku = \"{unique}\" }, reserve_extra = { order_id = \"{unique}\" }"
        }
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
