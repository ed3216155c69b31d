//! Where a deployment keeps its items and reservations: the `[database]` table of a dialect file.

use serde::{Deserialize, Serialize};

/// Tables and columns. A column that is empty does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// The table of items.
    pub items: String,
    /// Its id, as the API shows it.
    pub item_id: String,
    /// All units of an item.
    pub total: String,
    /// Units that are free.
    pub available: String,
    /// Units in pending reservations.
    pub held: String,
    /// Units sold.
    pub confirmed: String,
    /// The table of reservations.
    pub reservations: String,
    /// Its id, as the API shows it.
    pub reservation_id: String,
    /// The item's id.
    pub reservation_item: String,
    /// Units of one reservation.
    pub quantity: String,
    /// Its state, as a text.
    pub status: String,
    /// Its deadline, a `timestamptz`.
    pub expires_at: String,
    /// The states of a hold that lives until its deadline.
    pub pending_statuses: Vec<String>,
    /// The states of one that was sold.
    pub confirmed_statuses: Vec<String>,
}

impl Default for Mapping {
    fn default() -> Self {
        Mapping {
            items: "items".to_owned(),
            item_id: "id".to_owned(),
            total: "total_quantity".to_owned(),
            available: String::new(),
            held: String::new(),
            confirmed: String::new(),
            reservations: "reservations".to_owned(),
            reservation_id: "id".to_owned(),
            reservation_item: "item_id".to_owned(),
            quantity: "quantity".to_owned(),
            status: "status".to_owned(),
            expires_at: "expires_at".to_owned(),
            pending_statuses: vec!["PENDING".to_owned()],
            confirmed_statuses: vec!["CONFIRMED".to_owned()],
        }
    }
}

impl Mapping {
    /// The schema `stockhold`.
    pub fn stockhold() -> Self {
        Mapping {
            items: "stockhold.items".to_owned(),
            held: "held_quantity".to_owned(),
            confirmed: "confirmed_quantity".to_owned(),
            reservations: "stockhold.reservations".to_owned(),
            ..Mapping::default()
        }
    }
}
