//! The control's state: items and holds in memory, correct under one lock unless a fault says otherwise.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use uuid::Uuid;

use crate::history::{Reason, Status};

/// An item and its holds.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub name: String,
    pub total: i64,
    pub held: i64,
    pub confirmed: i64,
    pub version: i64,
    pub holds: Vec<Uuid>,
    /// What a cache would still show.
    pub cached: Option<(Instant, i64, i64)>,
}

/// A reservation.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub id: Uuid,
    pub item: Uuid,
    pub customer: String,
    pub quantity: i64,
    pub status: Status,
    pub created: SystemTime,
    pub expires: SystemTime,
    pub deadline: Instant,
}

/// Everything.
#[derive(Default)]
pub(super) struct Store {
    pub items: HashMap<Uuid, Item>,
    pub holds: HashMap<Uuid, Hold>,
    pub keys: HashMap<String, Uuid>,
    /// PENDING holds, so that a sweep need not look at all there ever were.
    pub pending: Vec<Uuid>,
}

impl Store {
    pub fn create(&mut self, name: String, total: i64) -> Uuid {
        let id = Uuid::now_v7();
        let item = Item { name, total, held: 0, confirmed: 0, version: 1, holds: Vec::new(), cached: None };
        self.items.insert(id, item);
        id
    }

    /// Ends the holds of an item whose deadline has passed.
    pub fn lapse(&mut self, item: Uuid, now: Instant) -> u64 {
        let Some(item) = self.items.get_mut(&item) else { return 0 };
        let mut lapsed = 0;
        for id in &item.holds {
            let Some(hold) = self.holds.get_mut(id) else { continue };
            if hold.status == Status::Pending && hold.deadline <= now {
                hold.status = Status::Expired;
                item.held -= hold.quantity;
                item.version += 1;
                lapsed += 1;
            }
        }
        lapsed
    }

    /// Ends every hold whose deadline has passed.
    pub fn lapse_all(&mut self, now: Instant) {
        let lapsed = |id: &&Uuid| self.holds.get(*id).is_some_and(|hold| hold.deadline <= now);
        let items: Vec<Uuid> = self.pending.iter().filter(lapsed).map(|id| self.holds[id].item).collect();
        items.into_iter().for_each(|item| {
            self.lapse(item, now);
        });
    }

    /// Writes a hold down; the caller has made sure that its units are there.
    pub fn insert(&mut self, item: Uuid, customer: String, quantity: i64, ttl: Duration) -> Uuid {
        let id = Uuid::now_v7();
        let created = SystemTime::now();
        let hold = Hold {
            id,
            item,
            customer,
            quantity,
            status: Status::Pending,
            created,
            expires: created + ttl,
            deadline: Instant::now() + ttl,
        };
        self.holds.insert(id, hold);
        self.pending.push(id);
        if let Some(item) = self.items.get_mut(&item) {
            item.holds.push(id);
            item.version += 1;
        }
        id
    }

    /// Ends a hold. The states in which it may end are the caller's to check.
    pub fn end(&mut self, id: Uuid, status: Status) {
        let Some(hold) = self.holds.get_mut(&id) else { return };
        hold.status = status;
        if let Some(item) = self.items.get_mut(&hold.item) {
            item.version += 1;
            item.held = (item.held - hold.quantity).max(0);
            if status == Status::Confirmed {
                item.confirmed += hold.quantity;
            }
        }
    }

    /// Sells a lapsed hold after all, where its units are free.
    pub fn confirm_lapsed(&mut self, id: Uuid) {
        let Some(hold) = self.holds.get_mut(&id).filter(|hold| hold.status == Status::Expired) else { return };
        let Some(item) = self.items.get_mut(&hold.item) else { return };
        if item.held + item.confirmed + hold.quantity <= item.total {
            hold.status = Status::Confirmed;
            item.confirmed += hold.quantity;
            item.version += 1;
        }
    }

    /// Whether a hold may change to this state: yes, it is so already, or why not.
    pub fn may_end(&self, id: Uuid, wanted: Status) -> Result<bool, Reason> {
        match self.holds.get(&id).map(|hold| hold.status) {
            None => Err(Reason::NotFound),
            Some(Status::Pending) => Ok(true),
            Some(status) if status == wanted => Ok(false),
            Some(Status::Confirmed) => Err(Reason::ReservationConfirmed),
            Some(Status::Cancelled) => Err(Reason::ReservationCancelled),
            Some(Status::Expired) => Err(Reason::ReservationExpired),
        }
    }
}
