//! Instants as they are written: RFC 3339, UTC, six fraction digits always, as many as the database keeps.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

pub(crate) fn written(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(crate) fn write<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*instant))
}

pub(crate) fn write_option<S: Serializer>(instant: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => write(instant, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_six_fraction_digits_even_where_they_are_noughts() {
        assert_eq!(written(DateTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
    }
}
