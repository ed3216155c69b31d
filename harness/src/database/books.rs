//! The service's own books, read in one snapshot, and the audit of them: counters, the sums of the rows and the fold of
//! the ledger must be one and the same, at every version.

use futures::future::BoxFuture;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};

use crate::{
    check::books::Page,
    target::{deployment::own, mapping::Mapping, probe::Mover},
};

/// A connection to the deployment's database, for reading. Speaks the simple protocol, so that a pooler may stand
/// between.
pub struct Books {
    connection: PgConnection,
    /// Whether the database holds the schema `stockhold`; without it there is no ledger to audit.
    pub has_ledger: bool,
    /// Where the rows are that can be read.
    mapping: Option<Mapping>,
}

impl Books {
    /// Connects, and looks whether the schema is ours.
    pub async fn open(database_url: &str) -> Result<Self, String> {
        let options: PgConnectOptions =
            database_url.parse().map_err(|_| "the database URL is not a PostgreSQL URL".to_owned())?;
        // The driver's text may hold the URL, and with it the password: only its kind is told.
        let connection = PgConnection::connect_with(&options.statement_cache_capacity(0))
            .await
            .map_err(|error| format!("the database cannot be reached: {}", plain(&error)))?;
        let mut books = Books { connection, has_ledger: false, mapping: None };
        books.has_ledger = books.scalar("select (to_regclass('stockhold.ledger') is not null)::text").await? == "true";
        books.mapping = books.has_ledger.then(Mapping::stockhold);
        Ok(books)
    }

    /// The same for rows that lie elsewhere, where a mapping says so; it must fit.
    pub async fn open_as(database_url: &str, mapping: Option<&Mapping>) -> Result<Self, String> {
        let mut books = Books::open(database_url).await?;
        if let Some(mapping) = mapping {
            (books.has_ledger, books.mapping) = (false, Some(mapping.clone()));
            let sql = sample(mapping, "");
            let read = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(&mut books.connection).await;
            read.map_err(|error| format!("[database] of the dialect does not fit the database: {}", plain(&error)))?;
        }
        Ok(books)
    }

    /// Whether the rows can be read.
    pub fn reads_rows(&self) -> bool {
        self.mapping.is_some()
    }

    async fn scalar(&mut self, sql: &str) -> Result<String, String> {
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| format!("the database did not answer: {}", plain(&error)))?;
        row.try_get::<String, _>(0).map_err(|error| format!("the database answered oddly: {}", plain(&error)))
    }

    /// All rows of one item in one statement, which is one snapshot.
    pub async fn page(&mut self, item: &str) -> Result<Page, String> {
        let item = literal(own(item));
        let text = self.scalar(&PAGE.replace("$item", &item)).await?;
        serde_json::from_str(&text).map_err(|error| format!("the item's rows cannot be read: {error}"))
    }

    /// How many holds of all items were recorded as expired since an instant of the database's clock.
    pub async fn expired_since(&mut self, clock_us: i64) -> Result<u64, String> {
        let sql = format!(
            "select count(*)::text from stockhold.ledger where kind = 'EXPIRED' \
             and recorded_at >= to_timestamp({clock_us} / 1000000.0)"
        );
        self.scalar(&sql).await?.parse().map_err(|_| "the database answered oddly".to_owned())
    }

    /// The database's clock, in microseconds since the epoch.
    pub async fn clock_us(&mut self) -> Result<i64, String> {
        self.scalar("select trunc(extract(epoch from clock_timestamp()) * 1000000)::bigint::text")
            .await?
            .parse()
            .map_err(|_| "the database answered oddly".to_owned())
    }

    /// Runs the caller's own statement that gives a reservation a new deadline: `{id}` and `{milliseconds}` stand in it.
    pub async fn move_deadline(&mut self, sql: &str, reservation: &str, milliseconds: u64) -> Result<(), String> {
        let id = literal(reservation);
        // The statement may quote the id itself: only what stands between the quotes is put there then.
        let sql = sql.replace("'{id}'", &id).replace("{id}", &id).replace("{milliseconds}", &milliseconds.to_string());
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        let done = done.map_err(|error| format!("--expire-sql failed: {}", plain(&error)))?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        Err(format!("--expire-sql changed {} rows of reservation {reservation}, not one", done.rows_affected()))
    }

    /// Runs the caller's own statements that make or reset an item: `{name}`, `{total}` and `{item}` stand in them. Says what
    /// they return first.
    pub async fn stage(
        &mut self,
        sql: &str,
        name: &str,
        total: i64,
        item: Option<&str>,
    ) -> Result<Option<String>, String> {
        let quoted = |sql: String, place: &str, value: &str| {
            let value = literal(value);
            sql.replace(&format!("'{place}'"), &value).replace(place, &value)
        };
        let sql = quoted(sql.replace("{total}", &total.to_string()), "{name}", name);
        let sql = quoted(sql, "{item}", item.unwrap_or_default());
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| format!("--stage-sql failed: {}", plain(&error)))?;
        // Over the simple protocol every value is a text, whatever its type.
        let first = rows.first().map(|row| row.try_get_unchecked::<String, _>(0));
        first.transpose().map_err(|error| format!("--stage-sql returned no id: {}", plain(&error)))
    }

    /// The invariant as one statement sees it, with one clock value that is not older than its snapshot.
    pub async fn sample(&mut self, item: &str) -> Result<Sample, String> {
        let mapping = self.mapping.as_ref().ok_or("the database's rows cannot be read")?;
        let text = self.scalar(&sample(mapping, own(item))).await?;
        serde_json::from_str(&text).map_err(|error| format!("the sample cannot be read: {error}"))
    }
}

/// The caller's own statement that gives a reservation a new deadline, and the database it runs in.
pub struct DeadlineMover {
    /// The database.
    pub books: Books,
    /// The statement.
    pub sql: String,
}

impl Mover for DeadlineMover {
    fn move_deadline<'m>(&'m mut self, reservation: &'m str, milliseconds: u64) -> BoxFuture<'m, Result<(), String>> {
        Box::pin(self.books.move_deadline(&self.sql, reservation, milliseconds))
    }
}

/// What one statement reads of an item's rows. What the database does not keep is none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Sample {
    pub total_quantity: Option<i64>,
    pub available_quantity: Option<i64>,
    pub held_quantity: Option<i64>,
    pub confirmed_quantity: Option<i64>,
    pub pending: i64,
    pub pending_unexpired: i64,
    pub confirmed: i64,
}

const PAGE: &str = "
select json_build_object(
    'item', (
        select json_build_object(
            'total_quantity', total_quantity, 'held_quantity', held_quantity,
            'confirmed_quantity', confirmed_quantity, 'version', version
        )
        from stockhold.items
        where id = $item
    ),
    'reservations', (
        select coalesce(json_agg(json_build_object(
            'id', id, 'quantity', quantity, 'status', status,
            'expires_at_us', trunc(extract(epoch from expires_at) * 1000000)::bigint
        )), '[]')
        from stockhold.reservations
        where item_id = $item
    ),
    'ledger', (
        select coalesce(json_agg(json_build_object(
            'version', version, 'reservation_id', reservation_id, 'kind', kind, 'quantity', quantity,
            'total_quantity', total_quantity, 'held_quantity', held_quantity,
            'confirmed_quantity', confirmed_quantity,
            'recorded_at_us', trunc(extract(epoch from recorded_at) * 1000000)::bigint
        ) order by version), '[]')
        from stockhold.ledger
        where item_id = $item
    )
)::text";

/// The statement that reads a sample. `clock` is materialised after the snapshot was taken: a clock older than the snapshot
/// would count a lapsed hold together with the one that took its units.
fn sample(mapping: &Mapping, item: &str) -> String {
    let Mapping { items, item_id, reservations, reservation_item, quantity, status, expires_at, .. } = mapping;
    let item = literal(item);
    let any = |statuses: &[String]| statuses.iter().map(|status| literal(status)).collect::<Vec<_>>().join(", ");
    let (pending, confirmed) = (any(&mapping.pending_statuses), any(&mapping.confirmed_statuses));
    let counter = |column: &str| if column.is_empty() { "null".to_owned() } else { format!("items.{column}") };
    let (total, available) = (counter(&mapping.total), counter(&mapping.available));
    let (held, sold) = (counter(&mapping.held), counter(&mapping.confirmed));
    format!(
        "
with clock as materialized (
    select clock_timestamp() as at
),
rows as (
    select
        coalesce(sum({quantity}) filter (where {status}::text in ({pending})), 0) as pending,
        coalesce(
            sum({quantity}) filter (where {status}::text in ({pending}) and {expires_at} > clock.at), 0
        ) as pending_unexpired,
        coalesce(sum({quantity}) filter (where {status}::text in ({confirmed})), 0) as confirmed
    from clock
    left join {reservations} as reservations on reservations.{reservation_item}::text = {item}
)
select json_build_object(
    'total_quantity', {total}, 'available_quantity', {available}, 'held_quantity', {held},
    'confirmed_quantity', {sold}, 'pending', pending, 'pending_unexpired', pending_unexpired, 'confirmed', confirmed
)::text
from {items} as items
cross join rows
where items.{item_id}::text = {item}"
    )
}

/// A quoted literal: ids come from the target, and the target is not trusted.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace(['\0', '\\'], ""))
}

/// A database error without what could hold a secret.
pub(crate) fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::RowNotFound => "no such row".to_owned(),
        _ => "the connection failed".to_owned(),
    }
}

impl Sample {
    /// What is wrong with it, if anything.
    pub fn audit(&self) -> Option<String> {
        let Sample { pending, pending_unexpired: active, confirmed: sold, .. } = self;
        if let Some(total) = self.total_quantity.filter(|total| sold + active > *total) {
            return Some(format!("confirmed {sold} + active {active} > total {total}, as committed rows show"));
        }
        // Some keep a lapsed hold in their counters until a sweep, some until its deadline.
        let agrees = |counter: Option<i64>, of: &dyn Fn(i64) -> i64| {
            counter.is_none_or(|counter| counter == of(*pending) || counter == of(*active))
        };
        let free = self.total_quantity.map(|total| move |held: i64| total - sold - held);
        let free_agrees = free.is_none_or(|free| agrees(self.available_quantity, &free));
        if free_agrees && agrees(self.held_quantity, &|held| held) && agrees(self.confirmed_quantity, &|_| *sold) {
            return None;
        }
        let counters = [
            ("available", self.available_quantity),
            ("held", self.held_quantity),
            ("confirmed", self.confirmed_quantity),
        ];
        let told: Vec<String> =
            counters.iter().filter_map(|(word, value)| value.map(|value| format!("{word} {value}"))).collect();
        Some(format!(
            "the counters say {}; the rows of the same snapshot say pending {pending} (active {active}), confirmed {sold}",
            told.join(", ")
        ))
    }
}
