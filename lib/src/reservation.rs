//! A reservation: units of one item held for a customer until a deadline, then confirmed, cancelled or expired.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::text::{Invalid, integer, text};

text! {
    /// Who holds the units: 1 to 200 characters, not blank, no U+0000.
    CustomerId
}

integer! {
    /// Units of one reservation: 1 to 1,000,000.
    Quantity, 1, 1_000_000, "Units."
}

/// How long a hold lives: 0.01 to 2,592,000 seconds (30 days), 600 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct TimeToLive(f64);

impl TimeToLive {
    /// The shortest, in seconds.
    pub const SECONDS_MIN: f64 = 0.01;
    /// The longest, in seconds.
    pub const SECONDS_MAX: f64 = 2_592_000.0;

    /// The length in seconds.
    pub fn seconds(self) -> f64 {
        self.0
    }
}

impl Default for TimeToLive {
    fn default() -> Self {
        Self(600.0)
    }
}

impl TryFrom<f64> for TimeToLive {
    type Error = Invalid;

    fn try_from(seconds: f64) -> Result<Self, Invalid> {
        if (Self::SECONDS_MIN..=Self::SECONDS_MAX).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(Invalid(format!("must be from {} to {} seconds, is {seconds}", Self::SECONDS_MIN, Self::SECONDS_MAX)))
        }
    }
}

#[cfg(feature = "http")]
impl schemars::JsonSchema for TimeToLive {
    fn schema_name() -> String {
        "TimeToLive".to_owned()
    }

    fn is_referenceable() -> bool {
        false
    }

    fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> schemars::schema::Schema {
        crate::text::number_schema(
            schemars::schema::InstanceType::Number,
            Self::SECONDS_MIN,
            Self::SECONDS_MAX,
            "How long the hold lives, in seconds; fractions allowed.",
        )
    }
}

/// A caller's name for one call, so that the call can be repeated: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for IdempotencyKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text)
    }
}

impl IdempotencyKey {
    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for IdempotencyKey {
    type Error = Invalid;

    fn try_from(text: &str) -> Result<Self, Invalid> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid("must be 1 to 255 visible ASCII characters".to_owned()))
        }
    }
}

/// What distinguishes one command from another under the same key: the SHA-256 of its JSON form.
pub(crate) fn fingerprint(command: &impl Serialize) -> Vec<u8> {
    // Commands are plain structs of strings and numbers, which always have a JSON form.
    let json = serde_json::to_vec(command).unwrap_or_default();
    Sha256::digest(json).to_vec()
}

/// Where a reservation stands. Only a PENDING one can change, except that a late confirm may take an EXPIRED one anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum Status {
    /// Held until its deadline.
    Pending,
    /// Sold for good.
    Confirmed,
    /// Given back before its deadline.
    Cancelled,
    /// Given back by its deadline.
    Expired,
}

/// A reservation as one snapshot showed it; a hold past its deadline reads EXPIRED, recorded or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Reservation {
    /// UUID version 7.
    pub id: Uuid,
    /// The item it holds units of.
    pub item_id: Uuid,
    /// Who holds them.
    pub customer_id: String,
    /// How many units.
    pub quantity: i64,
    /// Units sold for good; 0 until it is confirmed.
    pub confirmed_quantity: i64,
    /// Of these, units that came back to the shelf.
    pub returned_quantity: i64,
    /// Where it stands.
    pub status: Status,
    /// The basket it is part of, whose decision is one for all its reservations.
    pub basket_id: Option<Uuid>,
    /// When it was made, by the database's clock.
    #[serde(serialize_with = "crate::instant::write")]
    pub created_at: DateTime<Utc>,
    /// The deadline: the hold is expired from this instant on.
    #[serde(serialize_with = "crate::instant::write")]
    pub expires_at: DateTime<Utc>,
    /// When it was confirmed.
    #[serde(serialize_with = "crate::instant::write_option")]
    pub confirmed_at: Option<DateTime<Utc>>,
    /// When it was cancelled.
    #[serde(serialize_with = "crate::instant::write_option")]
    pub cancelled_at: Option<DateTime<Utc>>,
    /// When it expired: its deadline, whenever that was recorded.
    #[serde(serialize_with = "crate::instant::write_option")]
    pub expired_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::create_item::NewItem;
    use crate::ops::reserve::NewReservation;
    use crate::statement::hexadecimal;

    /// A key that was used before a new field came must still know its body: the field is left out where it says nothing.
    #[test]
    fn a_fingerprint_stays_the_same_in_every_version() {
        let new_reservation = NewReservation::new(Uuid::nil(), CustomerId("customer".to_owned()), Quantity(2));
        let new_item = NewItem::new("Ticket".parse().unwrap(), 5.try_into().unwrap());
        assert_eq!(
            hexadecimal(&fingerprint(&new_reservation)),
            "\\xb36d062ffcbc39a9f2348e91d74a2aa0b45ae4317b3bb2d4cf89eb5dda309e90"
        );
        assert_eq!(
            hexadecimal(&fingerprint(&new_item)),
            "\\x67dcb197230d5c157055e1a1941ba6bbb7dcc812929a67e0c77e06162dc54477"
        );
    }
}
