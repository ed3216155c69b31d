//! What a request says, parsed once: the id in the path, the key, the body, the query. Each refuses with a problem.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::problem::{Code, FieldError, Problem};
use crate::json::Members;
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

impl<S: Send + Sync, T: FromFields + DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (headers, bytes) = read(request).await?;
        check_media_type(&headers)?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalBody<T>(pub T);

impl<S: Send + Sync, T: FromFields + DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
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

fn parse<T: FromFields + DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Much cheaper than field by field, and it says nothing where something is wrong. serde reads a struct from an array, too.
    if bytes.trim_ascii_start().starts_with(b"{")
        && let Ok(parsed) = serde_json::from_slice(bytes)
    {
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
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        match self.map.remove(name) {
            Some(value) => self.read(name, &value),
            None => {
                self.errors.push(FieldError { pointer: pointer(name), detail: "is required".to_owned() });
                None
            }
        }
    }

    /// The default when the field is absent or null; none after noting what is wrong.
    pub fn optional<T: DeserializeOwned + Default>(&mut self, name: &str) -> Option<T> {
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
    /// None when a field was wrong.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// Reads a command by the names of its fields, each `required` or `optional`.
macro_rules! from_fields {
    ($command:ident { $($field:ident: $presence:ident),* }) => {
        impl crate::http::request::FromFields for $command {
            fn from_fields(fields: &mut crate::http::request::Fields) -> Option<Self> {
                $(let $field = fields.$presence(stringify!($field));)*
                Some(Self { $($field: $field?),* })
            }
        }
    };
}

pub(crate) use from_fields;

/// A body that has nothing to say.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFields {}

impl FromFields for NoFields {
    fn from_fields(_: &mut Fields) -> Option<Self> {
        Some(Self {})
    }
}

/// The parameters of a query, taken one by one; what is left at the end is unknown. Names that begin with `x-vercel-` are the
/// platform's.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    pub fn of(parts: &Parts) -> Self {
        let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let pairs = pairs.filter(|(name, _)| !name.starts_with("x-vercel-"));
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { pairs, errors: Vec::new() }
    }

    /// A parameter's value, if it is there; given twice it is refused.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let place = self.pairs.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.pairs.remove(place);
        if self.pairs.iter().any(|(known, _)| known == name) {
            self.pairs.retain(|(known, _)| known != name);
            self.refuse(name, "is given twice".to_owned());
        }
        Some(value)
    }

    /// A parameter that is an integer, if it is there.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.take(name)?;
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(name, format!("must be an integer from {} to {}, is {value:?}", range.start(), range.end()));
        }
        number
    }

    fn refuse(&mut self, name: &str, detail: String) {
        self.errors.push(FieldError { pointer: pointer(name), detail });
    }

    /// Refuses the request when something was wrong, or is left.
    pub fn end(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.refuse(&name, "unknown parameter".to_owned());
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::validation(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

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
}
