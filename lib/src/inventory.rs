//! The handle a service holds: one method an operation.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use crate::coalesce::{Coalesced, Queues};
use crate::db::{Config, Database};
use crate::error::Error;
use crate::hints::Hints;
use crate::item::ItemStatus;
use crate::ledger::{Audit, LedgerPage};
use crate::ops::cancel::Cancel;
use crate::ops::confirm::{Confirm, ConfirmOptions};
use crate::ops::create_item::{CreateItem, NewItem};
use crate::ops::expire::{Expire, ExpireOptions};
use crate::ops::get_ledger::LedgerQuery;
use crate::ops::health::Health;
use crate::ops::refuse::Refusals;
use crate::ops::reserve::{NewReservation, Reserve, Reserves, Scarcity};
use crate::ops::return_units::{NewReturn, Return};
use crate::ops::settle::Settlements;
use crate::ops::{
    audit, cancel, confirm, create_item, expire, get_item, get_ledger, get_reservation, health, reserve, return_units,
};
use crate::reservation::{IdempotencyKey, Reservation};

/// An inventory in a PostgreSQL database. Cheap to clone; every clone shares the connections.
///
/// Nothing is kept in memory that a decision depends on: any number of processes may serve one database.
///
/// Every method answers [`Error::Unavailable`] or [`Error::Overloaded`] after a bounded wait, and
/// [`Error::Internal`] when the schema is missing or does not fit. A refusal is an outcome, not an error.
#[derive(Clone)]
pub struct Inventory {
    database: Arc<Database>,
    sold_out: Arc<Hints>,
    reserves: Queues<Reserves>,
    refusals: Queues<Refusals>,
    settlements: Queues<Settlements>,
}

impl Inventory {
    /// Connects, and so proves that the configuration works. The schema need not be there yet.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a URL that cannot work; [`Error::Unavailable`] when the database does not answer.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let inventory = Self::connect_lazily(config)?;
        inventory.database.ping().await?;
        Ok(inventory)
    }

    /// The same, but the first operation connects.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a URL that cannot work.
    pub fn connect_lazily(config: &Config) -> Result<Self, Error> {
        Ok(Self::on(Database::new(config)?, config.coalescing, config.wait_max))
    }

    /// An inventory on connections of the caller's. Each operation takes one for one message, which is a transaction of its
    /// own that brings its settings along: nothing of it stays on the connection. Waits are bounded by 10 seconds.
    pub fn with_pool(pool: PgPool) -> Self {
        let wait_max = Duration::from_secs(10);
        Self::on(Database::lent(pool, wait_max), true, wait_max)
    }

    fn on(database: Database, coalescing: bool, wait_max: Duration) -> Self {
        let (database, sold_out) = (Arc::new(database), Arc::<Hints>::default());
        let reserves = Reserves { database: database.clone(), scarcity: Scarcity::new(sold_out.clone()) };
        Self {
            reserves: Queues::new(reserves, coalescing, wait_max),
            refusals: Queues::new(Refusals { database: database.clone() }, coalescing, wait_max),
            settlements: Queues::new(Settlements { database: database.clone() }, coalescing, wait_max),
            database,
            sold_out,
        }
    }

    /// Closes the connections. Calls under way end; every later one is answered [`Error::Unavailable`]. A pool of the
    /// caller's stays open.
    pub fn close(&self) {
        self.database.close();
    }

    /// Creates the schema `stockhold`, or brings it up to date. A second run, or one at the same time, does no harm.
    pub async fn migrate(&self) -> Result<(), Error> {
        self.database.migrate().await
    }

    /// Creates an item with its units.
    pub async fn create_item(
        &self,
        new_item: NewItem,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<CreateItem, Error> {
        create_item::create_item(&self.database, new_item, idempotency_key).await
    }

    /// Reads one item; none when there is no such item.
    pub async fn get_item(&self, item_id: Uuid) -> Result<Option<ItemStatus>, Error> {
        get_item::get_item(&self.database, item_id).await
    }

    /// Holds units of one item for a customer until a deadline.
    pub async fn reserve(
        &self,
        new_reservation: NewReservation,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Reserve, Error> {
        let made =
            reserve::reserve(&self.reserves, &self.refusals, &self.sold_out, new_reservation, idempotency_key).await?;
        reserve::as_it_is_now(&mut &*self.database, made).await
    }

    /// Deducts a held reservation's units for good. Safe to repeat.
    pub async fn confirm(&self, reservation_id: Uuid, options: ConfirmOptions) -> Result<Confirm, Error> {
        confirm::confirm(&self.database, &self.settlements, reservation_id, options).await
    }

    /// Gives a held reservation's units back. Safe to repeat.
    pub async fn cancel(&self, reservation_id: Uuid) -> Result<Cancel, Error> {
        cancel::cancel(&self.settlements, reservation_id).await
    }

    /// Takes units of a confirmed reservation back to the shelf. Safe to repeat under a key.
    pub async fn return_units(
        &self,
        reservation_id: Uuid,
        new_return: NewReturn,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Return, Error> {
        return_units::return_units(&self.database, reservation_id, new_return, idempotency_key).await
    }

    /// Records lapsed holds as EXPIRED and gives their units back. Safe to repeat, and to run any number of at once.
    /// No call depends on it: a lapsed hold blocks none, recorded or not.
    pub async fn expire(&self, options: ExpireOptions) -> Result<Expire, Error> {
        expire::expire(&self.database, options).await
    }

    /// Reads one reservation; none when there is no such reservation.
    pub async fn get_reservation(&self, reservation_id: Uuid) -> Result<Option<Reservation>, Error> {
        get_reservation::get_reservation(&mut &*self.database, reservation_id).await
    }

    /// Reads a page of one item's ledger; none when there is no such item.
    pub async fn get_ledger(&self, item_id: Uuid, query: LedgerQuery) -> Result<Option<LedgerPage>, Error> {
        get_ledger::get_ledger(&self.database, item_id, query).await
    }

    /// Compares one item's counters with its reservations and its ledger; none when there is no such item.
    pub async fn audit(&self, item_id: Uuid) -> Result<Option<Audit>, Error> {
        audit::audit(&self.database, item_id).await
    }

    /// How many calls shared how many statements so far, in this process: reserves and their refusals, confirms and cancels.
    pub fn coalesced(&self) -> Coalesced {
        self.reserves.coalesced() + self.refusals.coalesced() + self.settlements.coalesced()
    }

    /// Asks the database whether it answers, and which schema it has.
    pub async fn health(&self) -> Result<Health, Error> {
        health::health(&self.database).await
    }
}
