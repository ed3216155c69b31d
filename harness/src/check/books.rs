//! A service's own books, as rows of one snapshot, and the audit of them: counters, the sums of the rows and the fold of
//! the ledger must be one and the same, at every version.

use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    check::verdict::{Breach, Layer, Violation},
    history::Status,
};

/// One item's rows as one snapshot showed them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// The item's counters.
    pub item: Counters,
    /// Its reservations, in no order.
    pub reservations: Vec<ReservationRow>,
    /// Its ledger, in version order.
    pub ledger: Vec<LedgerRow>,
}

/// A row of `stockhold.items`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Counters {
    /// All units.
    pub total_quantity: i64,
    /// Units in PENDING reservations.
    pub held_quantity: i64,
    /// Units sold.
    pub confirmed_quantity: i64,
    /// The newest version.
    pub version: i64,
}

/// A row of `stockhold.reservations`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReservationRow {
    pub id: String,
    pub quantity: i64,
    pub status: Status,
    pub expires_at_us: i64,
}

/// What a ledger row records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// The item began, with `quantity` units.
    Created,
    /// A hold was made.
    Reserved,
    /// A hold was sold.
    Confirmed,
    /// A hold was given back.
    Cancelled,
    /// A hold had lapsed.
    Expired,
    /// A lapsed hold was paid late, and its units were free.
    Reacquired,
}

/// A row of `stockhold.ledger`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LedgerRow {
    /// Its place in the order, from 1.
    pub version: i64,
    /// The reservation it is about; none for the item itself.
    pub reservation_id: Option<String>,
    /// What happened.
    pub kind: Kind,
    /// Units moved.
    pub quantity: i64,
    /// All units afterwards.
    pub total_quantity: i64,
    /// Units in PENDING reservations afterwards.
    pub held_quantity: i64,
    /// Units sold afterwards.
    pub confirmed_quantity: i64,
    /// The database's clock, in microseconds since the epoch.
    pub recorded_at_us: i64,
}

impl Page {
    /// Everything that is wrong with the books of one item.
    pub fn audit(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        self.audit_ledger(&mut violations);
        self.audit_rows(&mut violations);
        violations
    }

    fn audit_ledger(&self, violations: &mut Vec<Violation>) {
        let mut wrong_as = |breach, what: String| violations.push(Violation::new(Layer::Books, breach, what));
        let (mut total, mut held, mut confirmed) = (0, 0, 0);
        for (index, row) in self.ledger.iter().enumerate() {
            let LedgerRow { version, quantity, .. } = *row;
            if version != index as i64 + 1 {
                wrong_as(
                    Breach::ShowsWhatNeverWas,
                    format!("the ledger's row {} has version {version}: a version is missing or double", index + 1),
                );
                return;
            }
            match row.kind {
                Kind::Created => total = quantity,
                Kind::Reserved => held += quantity,
                Kind::Cancelled | Kind::Expired => held -= quantity,
                Kind::Reacquired => confirmed += quantity,
                Kind::Confirmed => {
                    held -= quantity;
                    confirmed += quantity;
                }
            }
            if (row.total_quantity, row.held_quantity, row.confirmed_quantity) != (total, held, confirmed) {
                wrong_as(
                    Breach::ShowsWhatNeverWas,
                    format!(
                        "version {version} says total {}, held {}, confirmed {}; its ledger folds to {total}, {held}, {confirmed}",
                        row.total_quantity, row.held_quantity, row.confirmed_quantity
                    ),
                );
                return;
            }
            if held < 0 || held + confirmed > total {
                wrong_as(
                    Breach::SoldTwice,
                    format!(
                        "version {version} breaks the invariant: held {held} + confirmed {confirmed}, total {total}"
                    ),
                );
            }
        }
        for (before, after) in self.ledger.iter().zip(self.ledger.iter().skip(1)) {
            let early_us = before.recorded_at_us - after.recorded_at_us;
            if early_us > 0 {
                wrong_as(
                    Breach::ShowsWhatNeverWas,
                    format!(
                        "version {} was recorded {:.3} ms before version {}: its clock was read before its lock",
                        after.version,
                        early_us as f64 / 1_000.0,
                        before.version
                    ),
                );
                break;
            }
        }
        let Counters { total_quantity, held_quantity, confirmed_quantity, version } = self.item;
        if (total_quantity, held_quantity, confirmed_quantity) != (total, held, confirmed) {
            wrong_as(
                Breach::ShowsWhatNeverWas,
                format!(
                    "the item says total {total_quantity}, held {held_quantity}, confirmed {confirmed_quantity}; \
                 its ledger folds to {total}, {held}, {confirmed}"
                ),
            );
        }
        if version != self.ledger.len() as i64 {
            wrong_as(
                Breach::ShowsWhatNeverWas,
                format!("the item is at version {version}; its ledger has {} rows", self.ledger.len()),
            );
        }
    }

    fn audit_rows(&self, violations: &mut Vec<Violation>) {
        let mut wrong = |what: String| violations.push(Violation::new(Layer::Books, Breach::ShowsWhatNeverWas, what));
        let sum = |status| -> i64 {
            self.reservations.iter().filter(|row| row.status == status).map(|row| row.quantity).sum()
        };
        let (held, confirmed) = (sum(Status::Pending), sum(Status::Confirmed));
        if (self.item.held_quantity, self.item.confirmed_quantity) != (held, confirmed) {
            wrong(format!(
                "the item says held {}, confirmed {}; its rows add up to {held}, {confirmed}",
                self.item.held_quantity, self.item.confirmed_quantity
            ));
        }
        let mut lives: HashMap<&str, Vec<&LedgerRow>> = HashMap::new();
        for row in &self.ledger {
            if let Some(id) = &row.reservation_id {
                lives.entry(id).or_default().push(row);
            }
        }
        for row in &self.reservations {
            let life = lives.remove(row.id.as_str()).unwrap_or_default();
            if let Some(what) = wrong_life(row, &life) {
                wrong(format!("reservation {}: {what}", row.id));
            }
        }
        for id in lives.keys() {
            wrong(format!("the ledger speaks of reservation {id}, which has no row"));
        }
    }
}

/// A reservation's ledger rows must tell the life that ends in its status.
fn wrong_life(row: &ReservationRow, life: &[&LedgerRow]) -> Option<String> {
    let told: Vec<Kind> = life.iter().map(|entry| entry.kind).collect();
    let possible: &[&[Kind]] = match row.status {
        Status::Pending => &[&[Kind::Reserved]],
        Status::Cancelled => &[&[Kind::Reserved, Kind::Cancelled]],
        Status::Expired => &[&[Kind::Reserved, Kind::Expired]],
        Status::Confirmed => &[&[Kind::Reserved, Kind::Confirmed], &[Kind::Reserved, Kind::Expired, Kind::Reacquired]],
    };
    if !possible.contains(&told.as_slice()) {
        return Some(format!("is {:?}, but its ledger tells {told:?}", row.status));
    }
    if let Some(entry) = life.iter().find(|entry| entry.quantity != row.quantity) {
        return Some(format!("holds {}, but version {} moved {}", row.quantity, entry.version, entry.quantity));
    }
    life.iter().find_map(|entry| match entry.kind {
        Kind::Confirmed | Kind::Cancelled if entry.recorded_at_us >= row.expires_at_us => {
            Some(format!("was {:?} after its deadline, at version {}", entry.kind, entry.version))
        }
        Kind::Expired if entry.recorded_at_us < row.expires_at_us => {
            Some(format!("was recorded as expired before its deadline, at version {}", entry.version))
        }
        _ => None,
    })
}
