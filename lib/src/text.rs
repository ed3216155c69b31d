//! The two shapes most domain types share: a short text and a bounded integer, each valid by construction.

/// A text of 1 to 200 characters, not blank, without U+0000 (which PostgreSQL's text cannot hold).
macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::text::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text)
            }
        }

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = crate::text::Invalid;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                crate::text::check(&text)?;
                Ok(Self(text))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = crate::text::Invalid;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::try_from(text.to_owned())
            }
        }

        #[cfg(feature = "http")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> String {
                stringify!($name).to_owned()
            }

            // In place, because `nullable` beside a reference says nothing (OpenAPI 3.0.3, 4.7.24).
            fn is_referenceable() -> bool {
                false
            }

            fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
                crate::text::text_schema()
            }
        }
    };
}

/// An integer from a least to a greatest value, and what it counts.
macro_rules! integer {
    ($(#[$doc:meta])* $name:ident, $min:literal, $max:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "i64")]
        pub struct $name(i64);

        impl $name {
            /// The least.
            pub const MIN: i64 = $min;
            /// The greatest.
            pub const MAX: i64 = $max;

            /// The number.
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = crate::text::Invalid;

            fn try_from(number: i64) -> Result<Self, Self::Error> {
                if (Self::MIN..=Self::MAX).contains(&number) {
                    Ok(Self(number))
                } else {
                    let why = format!("must be an integer from {} to {}, is {number}", Self::MIN, Self::MAX);
                    Err(crate::text::Invalid(why))
                }
            }
        }

        #[cfg(feature = "http")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> String {
                stringify!($name).to_owned()
            }

            // In place, because `nullable` beside a reference says nothing (OpenAPI 3.0.3, 4.7.24).
            fn is_referenceable() -> bool {
                false
            }

            fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
                crate::text::number_schema(
                    schemars::schema::InstanceType::Integer,
                    Self::MIN as f64,
                    Self::MAX as f64,
                    $what,
                )
            }
        }
    };
}

pub(crate) use {integer, text};

pub(crate) const LENGTH_MAX: usize = 200;

/// Why a value cannot be of its type: a sentence without its subject, such as "must not be blank".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(crate) String);

pub(crate) fn check(text: &str) -> Result<(), Invalid> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        Err(Invalid("must not be blank".to_owned()))
    } else if length > LENGTH_MAX {
        Err(Invalid(format!("must have 1 to {LENGTH_MAX} characters, has {length}")))
    } else if text.contains('\0') {
        Err(Invalid("must not contain U+0000".to_owned()))
    } else {
        Ok(())
    }
}

#[cfg(feature = "http")]
pub(crate) fn text_schema() -> schemars::schema::Schema {
    use schemars::schema::{InstanceType, SchemaObject, StringValidation};
    SchemaObject {
        instance_type: Some(InstanceType::String.into()),
        string: Some(Box::new(StringValidation {
            min_length: Some(1),
            max_length: Some(LENGTH_MAX as u32),
            pattern: Some(r"^[^\u0000]*[^\s\u0000][^\u0000]*$".to_owned()),
        })),
        ..SchemaObject::default()
    }
    .into()
}

#[cfg(feature = "http")]
pub(crate) fn number_schema(
    instance_type: schemars::schema::InstanceType,
    minimum: f64,
    maximum: f64,
    description: &str,
) -> schemars::schema::Schema {
    use schemars::schema::{Metadata, NumberValidation, SchemaObject};
    SchemaObject {
        metadata: Some(Box::new(Metadata { description: Some(description.to_owned()), ..Metadata::default() })),
        instance_type: Some(instance_type.into()),
        number: Some(Box::new(NumberValidation {
            minimum: Some(minimum),
            maximum: Some(maximum),
            ..NumberValidation::default()
        })),
        ..SchemaObject::default()
    }
    .into()
}
