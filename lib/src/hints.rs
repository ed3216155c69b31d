//! Items of which something was found, kept in memory to choose which statement is tried first. A hint decides no call: a
//! wrong one costs one round trip.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Items remembered at most; one more, and all are forgotten.
const ITEM_COUNT_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Hints(Mutex<HashSet<Uuid>>);

impl Hints {
    pub fn get(&self, item_id: Uuid) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&item_id)
    }

    pub fn set(&self, item_id: Uuid, found: bool) {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !found {
            items.remove(&item_id);
            return;
        }
        if items.len() >= ITEM_COUNT_MAX {
            items.clear();
        }
        items.insert(item_id);
    }
}
