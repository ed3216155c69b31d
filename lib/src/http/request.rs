//! What a request says, parsed once: the id in the path, the key, the body, the page. Each refuses with a problem.

use std::collections::BTreeMap;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, RawQuery, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::problem::{Code, FieldError, Problem};
use crate::json::Members;
use crate::ops::confirm::ConfirmOptions;
use crate::ops::create_item::NewItem;
use crate::ops::expire::ExpireOptions;
use crate::ops::get_ledger::LedgerQuery;
use crate::ops::reserve::NewReservation;
use crate::reservation::IdempotencyKey;

/// The longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The UUID in the path.
pub(crate) struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        // The parser takes other forms too; one resource has one path.
        let id = Uuid::try_parse(&text).ok().filter(|_| text.len() == 36);
        id.map(Self).ok_or_else(|| {
            Problem::new(Code::MalformedId, "The id must be a UUID such as 0197f3a0-5b1c-7cc2-9d3e-6a1f0c2b4d5e.")
        })
    }
}

/// The `Idempotency-Key` field, if there is one.
pub(crate) struct Key(pub Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refuse = |detail: String| Problem::new(Code::MalformedIdempotencyKey, detail);
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        if values.next().is_some() {
            return Err(refuse("Send one Idempotency-Key, not several.".to_owned()));
        }
        let text = value.to_str().map_err(|_| refuse("It must be visible ASCII.".to_owned()))?;
        let text = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or_else(|| {
                refuse("A quoted key is a string and nothing behind it; in it only \\ and \" are escaped.".to_owned())
            })?,
            None => text.to_owned(),
        };
        IdempotencyKey::try_from(text.as_str()).map(|key| Self(Some(key))).map_err(|why| refuse(format!("It {why}.")))
    }
}

/// The rest of a structured-field string (RFC 9651, 4.2.5) after its opening quote.
fn unquote(quoted: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(text),
            '\\' => text.push(characters.next().filter(|character| matches!(character, '"' | '\\'))?),
            character => text.push(character),
        }
    }
}

/// A JSON body that must be there.
pub(crate) struct Body<T>(pub T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (headers, bytes) = read(request).await?;
        check_media_type(&headers)?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalBody<T>(pub T);

impl<S: Send + Sync, T: FromFields + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (headers, bytes) = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_media_type(&headers)?;
        parse(&bytes).map(Self)
    }
}

async fn read(request: Request) -> Result<(HeaderMap, axum::body::Bytes), Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge, format!("A body may have {BODY_BYTES_MAX} bytes at most.",));
    let (parts, body) = request.into_parts();
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        if cause.is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>()) {
            too_large()
        } else {
            Problem::new(Code::MalformedJson, "The body ended early.")
        }
    })?;
    Ok((parts.headers, bytes))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, "Send `Content-Type: application/json`."))
}

fn parse<T: FromFields>(bytes: &[u8]) -> Result<T, Problem> {
    if let Some(parsed) = T::at_once(bytes) {
        return Ok(parsed);
    }
    let body: &RawValue = serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Code::MalformedJson, format!("The body is not JSON: {error}.")))?;
    let Members(members) = serde_json::from_str(body.get()).map_err(|error| {
        let detail = if body.get().starts_with('{') { error.to_string() } else { "must be an object".to_owned() };
        Problem::validation(vec![FieldError { pointer: String::new(), detail }])
    })?;
    let mut fields = Fields { map: BTreeMap::new(), errors: Vec::new(), malformed: None };
    for (name, value) in members {
        let place = pointer(&name);
        if fields.map.insert(name, value).is_some() {
            fields.errors.push(FieldError { pointer: place, detail: "is given twice".to_owned() });
        }
    }
    let parsed = T::from_fields(&mut fields);
    for name in fields.map.keys() {
        fields.errors.push(FieldError { pointer: pointer(name), detail: "unknown field".to_owned() });
    }
    if let Some(why) = fields.malformed {
        return Err(Problem::new(Code::MalformedJson, format!("The body is not JSON: {why}.")));
    }
    match parsed {
        Some(parsed) if fields.errors.is_empty() => Ok(parsed),
        _ => Err(Problem::validation(fields.errors)),
    }
}

/// A JSON object's fields, taken one by one; what is left at the end is unknown.
pub(crate) struct Fields {
    map: BTreeMap<String, Box<RawValue>>,
    errors: Vec<FieldError>,
    /// A value that is no Unicode text, or a number out of every range.
    malformed: Option<String>,
}

impl Fields {
    /// None after noting what is wrong.
    fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        match self.map.remove(name) {
            Some(value) => self.read(name, &value),
            None => {
                self.errors.push(FieldError { pointer: pointer(name), detail: "is required".to_owned() });
                None
            }
        }
    }

    /// The default when the field is absent or null; none after noting what is wrong.
    fn optional<T: DeserializeOwned + Default>(&mut self, name: &str) -> Option<T> {
        match self.map.remove(name) {
            None => Some(T::default()),
            Some(value) if value.get() == "null" => Some(T::default()),
            Some(value) => self.read(name, &value),
        }
    }

    fn read<T: DeserializeOwned>(&mut self, name: &str, value: &RawValue) -> Option<T> {
        let first = match serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(value.get())) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        // Read again as a value: that tells what is no JSON at all from what is of another type, without line and column.
        let error = match serde_json::from_str::<serde_json::Value>(value.get()) {
            Err(error) => {
                self.malformed = Some(format!("{}: {error}", pointer(name)));
                return None;
            }
            Ok(value) => serde_path_to_error::deserialize::<_, T>(value).err().unwrap_or(first),
        };
        let mut place = pointer(name);
        for segment in error.path() {
            match segment {
                serde_path_to_error::Segment::Seq { index } => place.push_str(&format!("/{index}")),
                serde_path_to_error::Segment::Map { key } => place.push_str(&pointer(key)),
                serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => {}
            }
        }
        // serde names what it expected by Rust's types.
        let detail = error.inner().to_string().replace("expected i64", "expected an integer");
        let detail =
            detail.replace("expected f64", "expected a number").replace("expected a map", "expected an object");
        self.errors.push(FieldError { pointer: place, detail });
        None
    }
}

/// A member's JSON pointer (RFC 6901, 3).
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A command read field by field, so that one answer names everything that is wrong.
pub(crate) trait FromFields: Sized {
    /// The command, when nothing is wrong; none says nothing. Much cheaper than the fields one by one.
    fn at_once(_bytes: &[u8]) -> Option<Self> {
        None
    }

    /// None when a field was wrong.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// A body that has nothing to say.
#[derive(Default)]
pub(crate) struct NoFields;

impl FromFields for NoFields {
    fn from_fields(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}

impl FromFields for NewItem {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name");
        let initial_quantity = fields.required("initial_quantity");
        let sku = fields.optional("sku");
        let metadata = fields.optional("metadata");
        Some(Self { name: name?, initial_quantity: initial_quantity?, sku: sku?, metadata: metadata? })
    }
}

impl FromFields for NewReservation {
    fn at_once(bytes: &[u8]) -> Option<Self> {
        // A struct can be read from an array, too.
        let object = bytes.trim_ascii_start().starts_with(b"{");
        serde_json::from_slice(bytes).ok().filter(|_| object)
    }

    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let item_id = fields.required("item_id");
        let customer_id = fields.required("customer_id");
        let quantity = fields.required("quantity");
        let ttl_seconds = fields.optional("ttl_seconds");
        Some(Self { item_id: item_id?, customer_id: customer_id?, quantity: quantity?, ttl_seconds: ttl_seconds? })
    }
}

impl FromFields for ConfirmOptions {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { if_expired: fields.optional("if_expired")? })
    }
}

impl FromFields for ExpireOptions {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { limit: fields.optional("limit")? })
    }
}

/// `limit` and `cursor` of a ledger's page.
pub(crate) struct LedgerPageQuery(pub LedgerQuery);

/// Entries on a page: the default, and the most.
pub(crate) const PAGE_LIMIT_DEFAULT: i64 = 50;
pub(crate) const PAGE_LIMIT_MAX: i64 = 100;

impl<S: Send + Sync> FromRequestParts<S> for LedgerPageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = RawQuery::from_request_parts(parts, state).await.ok().and_then(|RawQuery(query)| query);
        let mut page = LedgerQuery { after_version: 0, entry_count_max: PAGE_LIMIT_DEFAULT };
        let mut errors = Vec::new();
        for pair in query.iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "limit" => match value.parse() {
                    Ok(limit) if (1..=PAGE_LIMIT_MAX).contains(&limit) => page.entry_count_max = limit,
                    _ => errors.push(FieldError {
                        pointer: "/limit".to_owned(),
                        detail: format!("must be an integer from 1 to {PAGE_LIMIT_MAX}, is {value:?}"),
                    }),
                },
                "cursor" => page.after_version = read_cursor(value)?,
                _ => errors.push(FieldError { pointer: pointer(name), detail: "unknown parameter".to_owned() }),
            }
        }
        if errors.is_empty() { Ok(Self(page)) } else { Err(Problem::validation(errors)) }
    }
}

/// A cursor names the last version of the page before.
pub(crate) fn write_cursor(version: i64) -> String {
    format!("v{version}")
}

fn read_cursor(cursor: &str) -> Result<i64, Problem> {
    let version = cursor.strip_prefix('v').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    version
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Problem::new(Code::MalformedCursor, "Use the next_cursor of the page before, unchanged."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;
    use schemars::JsonSchema;

    use super::*;

    #[rstest]
    #[case::plain(r#"abc""#, Some("abc"))]
    #[case::escaped(r#"a\"b\\c""#, Some(r#"a"b\c"#))]
    #[case::open("abc", None)]
    #[case::more_behind(r#"abc"; x=1"#, None)]
    #[case::unknown_escape(r#"a\nb""#, None)]
    fn a_quoted_key_is_read_as_a_structured_field(#[case] quoted: &str, #[case] text: Option<&str>) {
        assert_eq!(unquote(quoted).as_deref(), text);
    }

    #[rstest]
    #[case::first("v0", Some(0))]
    #[case::later("v42", Some(42))]
    #[case::negative("v-1", None)]
    #[case::signed("v+1", None)]
    #[case::bare("42", None)]
    #[case::empty("", None)]
    #[case::huge("v99999999999999999999", None)]
    fn a_cursor_is_read_as_it_was_written(#[case] cursor: &str, #[case] version: Option<i64>) {
        assert_eq!(read_cursor(cursor).ok(), version);
    }

    /// Reads a command from a body that holds every field of its schema, each of a wrong type: every field must be
    /// asked for, and none besides.
    fn fields_are_those_of_the_schema<T: FromFields + JsonSchema>() {
        let schema = schemars::schema_for!(T);
        let names: BTreeSet<String> = schema.schema.object.unwrap_or_default().properties.into_keys().collect();
        assert!(!names.is_empty());
        let map = names.iter().map(|name| (name.clone(), RawValue::TRUE.to_owned())).collect();
        let mut fields = Fields { map, errors: Vec::new(), malformed: None };
        assert!(T::from_fields(&mut fields).is_none());
        assert!(fields.map.is_empty(), "not read: {:?}", fields.map);
        let wrong: BTreeSet<String> = fields.errors.iter().map(|error| error.pointer[1..].to_owned()).collect();
        assert_eq!(wrong, names);
    }

    #[test]
    fn a_body_is_read_by_its_schema() {
        fields_are_those_of_the_schema::<NewItem>();
        fields_are_those_of_the_schema::<NewReservation>();
        fields_are_those_of_the_schema::<ConfirmOptions>();
        fields_are_those_of_the_schema::<ExpireOptions>();
    }
}
