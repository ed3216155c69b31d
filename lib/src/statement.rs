//! A statement and its values: as parameters of the extended protocol, or as literals of the simple one.

use chrono::{DateTime, Utc};
use sqlx::Arguments;
use sqlx::postgres::PgArguments;
use uuid::Uuid;

/// One operation's SQL: a single statement, parameters `$1`, `$2` … named by its first CTE.
pub(crate) struct Statement {
    /// The operation's name, for logs and errors.
    pub name: &'static str,
    /// The text.
    pub sql: &'static str,
    /// Whether another statement answers a request that was sent before: this one meets the unique id or key of the first.
    pub leaves_repeats: bool,
}

/// The statement of the file with this name, beside the caller's.
macro_rules! statement {
    ($name:literal) => {
        Statement { name: $name, sql: include_str!(concat!($name, ".sql")), leaves_repeats: false }
    };
}

pub(crate) use statement;

/// A value for a parameter.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Uuid(Uuid),
    Uuids(Vec<Uuid>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Bigint(i64),
    Double(f64),
    Bucket(i32),
    Instant(Option<DateTime<Utc>>),
    Json(serde_json::Value),
}

impl Statement {
    /// The values as parameters.
    pub fn arguments(&self, values: &[Value]) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        for value in values {
            match value {
                Value::Uuid(value) => arguments.add(value),
                Value::Uuids(values) => arguments.add(values),
                Value::Text(text) => arguments.add(text),
                Value::Bytes(bytes) => arguments.add(bytes),
                Value::Bigint(value) => arguments.add(value),
                Value::Double(value) => arguments.add(value),
                Value::Bucket(value) => arguments.add(value),
                Value::Instant(instant) => arguments.add(instant),
                Value::Json(json) => arguments.add(sqlx::types::Json(json)),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    /// The text, without its comments, with each value in the place of its parameter, for the simple protocol, which has none.
    pub fn inline(&self, values: &[Value]) -> String {
        let code: String = self.sql.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("--")).collect();
        let mut text = String::with_capacity(code.len() + 64 * values.len());
        let mut pieces = code.split('$');
        text.extend(pieces.next());
        for piece in pieces {
            let digit_count = piece.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = piece.split_at(digit_count);
            let value = number.parse::<usize>().ok().and_then(|number| values.get(number.checked_sub(1)?));
            match value {
                Some(value) => text.push_str(&value.literal()),
                None => text.extend(["$", number]),
            }
            text.push_str(rest);
        }
        text
    }
}

impl Value {
    /// The value as an SQL literal, to be cast where it stands.
    fn literal(&self) -> String {
        match self {
            Value::Uuid(value) => format!("'{value}'"),
            Value::Uuids(values) => {
                let list: Vec<String> = values.iter().map(Uuid::to_string).collect();
                format!("'{{{}}}'", list.join(","))
            }
            Value::Text(None) | Value::Bytes(None) | Value::Instant(None) => "null".to_owned(),
            Value::Text(Some(text)) => quote(text),
            Value::Bytes(Some(bytes)) => quote(&hexadecimal(bytes)),
            Value::Bigint(value) => format!("'{value}'"),
            Value::Double(value) => format!("'{value}'"),
            Value::Bucket(value) => format!("'{value}'"),
            Value::Instant(Some(instant)) => format!("'{}'", crate::instant::written(*instant)),
            Value::Json(json) => quote(&json.to_string()),
        }
    }
}

/// Bytes in the text form of `bytea` (PostgreSQL, 8.4.1).
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

/// An escape string constant: read the same whatever `standard_conforming_strings` says (PostgreSQL, 4.1.2.2).
fn quote(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(sql: &'static str) -> Statement {
        Statement { name: "test", sql, leaves_repeats: false }
    }

    #[test]
    fn values_stand_where_their_parameters_stood() {
        let statement = test("select $1::text, $2::bigint, $10, $2");
        let values = [Value::Text(Some("a'b\\c $2".to_owned())), Value::Bigint(-7)];
        assert_eq!(statement.inline(&values), r"select E'a''b\\c $2'::text, '-7'::bigint, $10, '-7'");
    }

    #[test]
    fn absent_values_are_null_and_bytes_are_hexadecimal() {
        let statement = test("$1 $2 $3 $4");
        let values = [
            Value::Text(None),
            Value::Bytes(None),
            Value::Bytes(Some(vec![0, 255])),
            Value::Uuids(vec![Uuid::nil(), Uuid::nil()]),
        ];
        let id = "00000000-0000-0000-0000-000000000000";
        assert_eq!(statement.inline(&values), format!(r"null null E'\\x00ff' '{{{id},{id}}}'"));
    }
}
