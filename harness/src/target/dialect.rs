//! How a deployment names things: paths, request fields, answer fields, and the few points on which services may
//! honestly differ. Data only, so that a TOML file can override any of it.

use serde::{Deserialize, Serialize};

use crate::{
    history::{Contract, Request},
    target::mapping::Mapping,
};

/// A fixed deadline that is further away than this is not waited for.
const FIXED_TTL_MS_MAX: u64 = 5_000;

/// The header of a bearer token.
pub const AUTHORIZATION: &str = "Authorization";

/// Everything the harness must know to speak with one deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// Where each verb lives.
    pub routes: Routes,
    /// What the fields of a request are called.
    pub send: Send,
    /// What the fields of an answer are called, beyond the usual names.
    pub read: Read,
    /// What the deployment does where the assignment leaves a choice.
    pub behaviour: Behaviour,
    /// Where the deployment keeps its rows, where that is not the schema `stockhold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Mapping>,
}

/// A method and a path for each verb; `{id}` stands for the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routes {
    pub create_item: String,
    pub get_item: String,
    pub reserve: String,
    /// Empty where a reservation cannot be read.
    pub get_reservation: String,
    pub confirm: String,
    pub cancel: String,
    pub expire: String,
}

impl Default for Routes {
    fn default() -> Self {
        Routes {
            create_item: "POST /v1/items".to_owned(),
            get_item: "GET /v1/items/{id}".to_owned(),
            reserve: "POST /v1/reservations".to_owned(),
            get_reservation: "GET /v1/reservations/{id}".to_owned(),
            confirm: "POST /v1/reservations/{id}/confirm".to_owned(),
            cancel: "POST /v1/reservations/{id}/cancel".to_owned(),
            expire: "POST /v1/maintenance/expire-reservations".to_owned(),
        }
    }
}

/// Names of request fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Send {
    /// An item's name.
    pub name: String,
    /// An item's first total.
    pub total: String,
    /// The item to hold.
    pub item: String,
    /// An item's id is a text even where it is all digits.
    pub item_as_text: bool,
    /// Who holds; empty where nobody is named.
    pub customer: String,
    /// A customer's id is a number.
    pub customer_as_number: bool,
    /// How many.
    pub quantity: String,
    /// How long; empty where a caller cannot say.
    pub ttl: String,
    /// The unit of `ttl`.
    pub ttl_unit: Unit,
    /// The header of an idempotency key.
    pub key_header: String,
    /// The field of the body in which an idempotency key is sent instead; empty where it is a header.
    pub key_field: String,
    /// Every call that changes something needs an idempotency key: one that has none gets one of its own.
    pub key_required: bool,
    /// The header of the API key: after `Bearer` in `Authorization`, as it is in any other.
    pub api_key_header: String,
    /// Further fields of `create_item`, as JSON. `{unique}` in a text is another one in every call.
    pub item_extra: Fields,
    /// The same of `reserve`.
    pub reserve_extra: Fields,
}

/// Fields of a JSON object.
pub type Fields = serde_json::Map<String, serde_json::Value>;

/// What stands in a text of further fields for one that is another in every call.
pub const UNIQUE: &str = "{unique}";

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds, with fractions.
    Seconds,
    /// Whole seconds: the shortest deadline is one second.
    WholeSeconds,
    /// Milliseconds.
    Milliseconds,
    /// Whole minutes: too coarse for a race at a deadline.
    Minutes,
    /// Minutes, with fractions.
    FractionalMinutes,
    /// No span but the instant itself: RFC 3339, to the millisecond, by the caller's clock.
    Instant,
}

impl Unit {
    /// How a value is given in it.
    pub fn told(self) -> &'static str {
        match self {
            Unit::Seconds => "in seconds",
            Unit::WholeSeconds => "in whole seconds",
            Unit::Milliseconds => "in milliseconds",
            Unit::Minutes => "in whole minutes",
            Unit::FractionalMinutes => "in minutes",
            Unit::Instant => "as an instant",
        }
    }
}

impl Default for Send {
    fn default() -> Self {
        Send {
            name: "name".to_owned(),
            total: "initial_quantity".to_owned(),
            item: "item_id".to_owned(),
            item_as_text: false,
            customer: "customer_id".to_owned(),
            customer_as_number: false,
            quantity: "quantity".to_owned(),
            ttl: "ttl_seconds".to_owned(),
            ttl_unit: Unit::Seconds,
            key_header: "Idempotency-Key".to_owned(),
            key_field: String::new(),
            key_required: false,
            api_key_header: AUTHORIZATION.to_owned(),
            item_extra: Fields::new(),
            reserve_extra: Fields::new(),
        }
    }
}

/// Names of answer fields, instead of the usual ones. Case, `_` and `-` do not matter; `a.b` is `b` inside `a`; an empty
/// name says that the deployment does not show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    pub item_id: Option<String>,
    pub total: Option<String>,
    pub available: Option<String>,
    pub held: Option<String>,
    pub confirmed: Option<String>,
    pub reservation_id: Option<String>,
    pub status: Option<String>,
    pub quantity: Option<String>,
    pub created_at: Option<String>,
    pub expires_at: Option<String>,
    pub expired_count: Option<String>,
}

/// Where the assignment leaves a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// Confirming what is confirmed answers 2xx again (and deducts nothing), or is refused.
    pub repeated_confirm_is_ok: bool,
    /// Cancelling what is cancelled answers 2xx again (and releases nothing), or is refused.
    pub repeated_cancel_is_ok: bool,
    /// A lapsed hold stops counting at its deadline; otherwise when a sweep has recorded it.
    pub lapse_frees_at_once: bool,
    /// A refusal says exactly why, in the contract's codes.
    pub exact_reasons: bool,
    /// `Idempotency-Key` is honoured.
    pub idempotency_key: bool,
    /// It is where an item is created, too.
    pub item_idempotency_key: bool,
    /// A key that comes again with another quantity is refused.
    pub key_reuse_is_refused: bool,
    /// A confirm that says `{"if_expired": "reacquire"}` takes the units of a lapsed hold anew, where they are free.
    pub late_confirm_reacquires: bool,
    /// Status codes that say "not executed, try again".
    pub not_executed: Vec<u16>,
    /// The status code of a reservation that asks for too much.
    pub insufficient_status: Option<u16>,
    /// The different words of that refusal in alphabetical order, without numbers and names: the same words mean the same
    /// again, and where another refusal has the same status code, they tell the two apart.
    pub insufficient_says: Option<String>,
    /// How far a deadline may lie from where the caller's own arithmetic puts it.
    pub deadline_rounding_ms: u64,
    /// How long a hold lives whose caller sets no deadline, where answers show it.
    pub default_ttl_ms: Option<u64>,
    /// A refusal tells a confirmed reservation from a cancelled one.
    pub ends_told_apart: bool,
    /// The most units that one reservation may hold, where that is few.
    pub quantity_max: Option<i64>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            repeated_confirm_is_ok: true,
            repeated_cancel_is_ok: true,
            lapse_frees_at_once: true,
            exact_reasons: true,
            idempotency_key: true,
            key_reuse_is_refused: true,
            item_idempotency_key: false,
            late_confirm_reacquires: false,
            not_executed: Vec::new(),
            insufficient_status: None,
            insufficient_says: None,
            deadline_rounding_ms: 2,
            default_ttl_ms: None,
            ends_told_apart: true,
            quantity_max: None,
        }
    }
}

impl Dialect {
    /// Reads a dialect file over this dialect: what the file names wins, the rest stays.
    pub fn overridden(&self, file: &str) -> Result<Self, String> {
        let mut fields = toml::Table::try_from(self).map_err(|error| error.to_string())?;
        let file: toml::Table = file.parse().map_err(|error: toml::de::Error| one_line(&error))?;
        merge(&mut fields, file);
        fields.try_into().map_err(|error: toml::de::Error| one_line(&error))
    }

    /// A dialect file that says all of it.
    pub fn to_toml(&self) -> Result<String, String> {
        toml::to_string_pretty(self).map_err(|error| error.to_string())
    }

    /// Whether a hold lapses within a race, because callers say so or because every hold does.
    pub fn short_deadlines(&self) -> bool {
        self.sets_deadlines() || self.fixed_ttl_ms().is_some()
    }

    /// Whether a caller can set a short deadline.
    pub fn sets_deadlines(&self) -> bool {
        !self.send.ttl.is_empty() && self.send.ttl_unit != Unit::Minutes
    }

    /// How long every hold lives, where no caller can set a deadline and answers show a short one.
    pub fn fixed_ttl_ms(&self) -> Option<u64> {
        self.behaviour.default_ttl_ms.filter(|ttl_ms| !self.sets_deadlines() && *ttl_ms <= FIXED_TTL_MS_MAX)
    }

    /// What is not as the assignment's own words would have it, and allowed.
    pub fn departures(&self) -> Vec<String> {
        let behaviour = &self.behaviour;
        [
            (!behaviour.repeated_confirm_is_ok, "a repeated confirm is refused"),
            (!behaviour.repeated_cancel_is_ok, "a repeated cancel is refused"),
            (!behaviour.lapse_frees_at_once, "a lapsed hold frees its units only at a sweep"),
            (!behaviour.ends_told_apart, "refusals do not tell apart how a reservation ended"),
            (
                behaviour.idempotency_key && !behaviour.key_reuse_is_refused,
                "a key that comes again with another quantity is answered as a repeat",
            ),
            (behaviour.deadline_rounding_ms >= 1_000, "deadlines are in whole seconds"),
            (self.routes.expire.is_empty(), "there is no route that records lapsed holds"),
        ]
        .into_iter()
        .filter(|(departs, _)| *departs)
        .map(|(_, what)| what.to_owned())
        .collect()
    }

    /// The shortest deadline at or above the wish that this deployment can express.
    pub fn ttl_ms(&self, wished_ms: u64) -> u64 {
        if let Some(fixed_ms) = self.fixed_ttl_ms() {
            return fixed_ms;
        }
        match self.send.ttl_unit {
            Unit::Seconds | Unit::Milliseconds | Unit::FractionalMinutes => wished_ms,
            Unit::Instant if self.behaviour.deadline_rounding_ms < 1_000 => wished_ms,
            // Where the deadline itself is kept in whole seconds, what is left of the first one may be nothing.
            Unit::WholeSeconds | Unit::Instant => {
                (wished_ms + self.behaviour.deadline_rounding_ms).div_ceil(1_000).max(1) * 1_000
            }
            Unit::Minutes => wished_ms.div_ceil(60_000).max(1) * 60_000,
        }
    }

    /// So many units, or as many as one reservation may hold here.
    pub fn quantity(&self, wished: i64) -> i64 {
        self.behaviour.quantity_max.map_or(wished, |most| wished.min(most))
    }

    /// A request in this deployment's words; nothing where it has no such route.
    pub fn write(&self, request: &Request) -> Option<Written> {
        let (route, id) = match request {
            Request::CreateItem { .. } => (&self.routes.create_item, None),
            Request::GetItem { item } => (&self.routes.get_item, Some(item)),
            Request::Reserve { item, .. } | Request::ReserveOdd { item, .. } => (&self.routes.reserve, Some(item)),
            Request::GetReservation { reservation } => (&self.routes.get_reservation, Some(reservation)),
            Request::Confirm { reservation } | Request::ConfirmLate { reservation } => {
                (&self.routes.confirm, Some(reservation))
            }
            Request::Cancel { reservation } => (&self.routes.cancel, Some(reservation)),
            Request::Expire => (&self.routes.expire, None),
        };
        let (method, path) = route.split_once(' ')?;
        let path = path.replace("{id}", &encoded(id.map_or("", String::as_str)));
        let key = self.key(request);
        let in_body = !self.send.key_field.is_empty();
        let body = self.body(request, key.as_deref().filter(|_| in_body));
        Some(Written { method: method.to_owned(), path, key: key.filter(|_| !in_body), body })
    }

    /// The key a request has, or gets because it needs one.
    fn key(&self, request: &Request) -> Option<String> {
        let reads = matches!(request, Request::GetItem { .. } | Request::GetReservation { .. });
        let fresh = || uuid::Uuid::now_v7().to_string();
        request.key().map(str::to_owned).or_else(|| (self.send.key_required && !reads).then(fresh))
    }

    fn body(&self, request: &Request, key: Option<&str>) -> Option<String> {
        let mut body = match request {
            Request::CreateItem { name, .. } => filled(&self.send.item_extra, name),
            Request::Reserve { customer, .. } | Request::ReserveOdd { customer, .. } => {
                filled(&self.send.reserve_extra, customer)
            }
            Request::ConfirmLate { .. } => return Some(r#"{"if_expired":"reacquire"}"#.to_owned()),
            _ => return None,
        };
        match request {
            Request::CreateItem { name, total, .. } => {
                body.insert(self.send.name.clone(), name.as_str().into());
                body.insert(self.send.total.clone(), (*total).into());
            }
            Request::Reserve { item, customer, quantity, ttl_ms, .. } => {
                self.who(&mut body, item, customer);
                body.insert(self.send.quantity.clone(), (*quantity).into());
                if let Some(ttl) = ttl_ms.filter(|_| !self.send.ttl.is_empty()) {
                    body.insert(self.send.ttl.clone(), self.ttl_value(ttl));
                }
            }
            Request::ReserveOdd { item, customer, quantity } => {
                self.who(&mut body, item, customer);
                body.insert(self.send.quantity.clone(), quantity.clone());
            }
            _ => {}
        }
        // A key that no caller chose is only wanted where something is reserved.
        if let Some(key) = key.filter(|_| request.key().is_some() || !matches!(request, Request::CreateItem { .. })) {
            body.insert(self.send.key_field.clone(), key.into());
        }
        Some(serde_json::Value::Object(body).to_string())
    }

    fn who(&self, body: &mut Fields, item: &str, customer: &str) {
        // An id of digits goes back as a number: most strict services take nothing else.
        let number = item.parse::<i64>().ok().filter(|_| !self.send.item_as_text);
        body.insert(self.send.item.clone(), number.map_or_else(|| item.into(), serde_json::Value::from));
        if self.send.customer.is_empty() {
            return;
        }
        // The customers' ids end in digits that tell them apart.
        let number = customer.rsplit('-').next().and_then(|digits| digits.parse::<i64>().ok());
        let customer = number.filter(|_| self.send.customer_as_number).map_or_else(|| customer.into(), Into::into);
        body.insert(self.send.customer.clone(), customer);
    }

    fn ttl_value(&self, ttl_ms: u64) -> serde_json::Value {
        match self.send.ttl_unit {
            Unit::Seconds if !ttl_ms.is_multiple_of(1_000) => (ttl_ms as f64 / 1_000.0).into(),
            Unit::Seconds | Unit::WholeSeconds => ttl_ms.div_ceil(1_000).into(),
            Unit::Milliseconds => ttl_ms.into(),
            Unit::Minutes => ttl_ms.div_ceil(60_000).into(),
            Unit::FractionalMinutes => (ttl_ms as f64 / 60_000.0).into(),
            Unit::Instant => {
                let ttl = chrono::TimeDelta::milliseconds(i64::try_from(ttl_ms).unwrap_or(i64::MAX / 2));
                let instant =
                    chrono::Utc::now().checked_add_signed(ttl).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
                instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into()
            }
        }
    }
}

/// A request in a deployment's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The method.
    pub method: String,
    /// The path, below the base URL.
    pub path: String,
    /// The idempotency key that goes into a header.
    pub key: Option<String>,
    /// The body.
    pub body: Option<String>,
}

/// Further fields of one call.
fn filled(fields: &Fields, unique: &str) -> Fields {
    let fill = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.replace(UNIQUE, unique).into(),
        other => other.clone(),
    };
    fields.iter().map(|(name, value)| (name.clone(), fill(value))).collect()
}

impl From<&Dialect> for Contract {
    fn from(dialect: &Dialect) -> Self {
        let behaviour = &dialect.behaviour;
        Contract {
            repeated_confirm_is_ok: behaviour.repeated_confirm_is_ok,
            repeated_cancel_is_ok: behaviour.repeated_cancel_is_ok,
            lapse_frees_at_once: behaviour.lapse_frees_at_once,
            exact_reasons: behaviour.exact_reasons,
            ttl_is_honoured: !dialect.send.ttl.is_empty(),
            rounding_ns: behaviour.deadline_rounding_ms * 1_000_000,
        }
    }
}

fn merge(fields: &mut toml::Table, file: toml::Table) {
    for (name, value) in file {
        match (fields.get_mut(&name), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(given)) => merge(inner, given),
            (_, value) => {
                fields.insert(name, value);
            }
        }
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

/// An id as one path segment (RFC 3986 section 2.3 names what may stand as it is).
fn encoded(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_overrides_what_it_names_and_nothing_else() -> Result<(), String> {
        let file = "[send]\nttl = \"\"\n[read]\navailable = \"stock.free\"\n[behaviour]\nrepeated_cancel_is_ok = false";
        let dialect = Dialect::default().overridden(file)?;
        assert!(!dialect.short_deadlines() && !dialect.behaviour.repeated_cancel_is_ok);
        assert_eq!(dialect.read.available.as_deref(), Some("stock.free"));
        assert_eq!(dialect.routes, Routes::default());
        Ok(())
    }

    #[test]
    fn a_file_with_a_typo_is_refused_by_name() {
        let refused = Dialect::default().overridden("[behaviour]\nrepeated_cancel_ok = false");
        assert!(refused.is_err_and(|error| error.contains("repeated_cancel_ok")));
    }
}
