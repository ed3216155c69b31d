//! Growth: tables full of what ended long ago, and a sweep that works off a million lapsed holds while others reserve.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Deserialize;
use sqlx::{Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use crate::{
    calls::{HttpCaller, Script},
    figures::Sweep,
    latency::Latency,
    load::{self, Effort, Pace},
    stock::Stock,
};
use stockhold_harness::internal::{
    history::Seed,
    target::{Connection as HttpConnection, Origin},
};

/// Reservations of one old item.
const OLD_PER_ITEM: u64 = 1_000;
/// Items written by one statement.
const ITEMS_AT_ONCE: u64 = 100;
/// The numbers that the old ids and those of the lapsed holds begin with: any moments before today.
const FIRST_NUMBER: u64 = 0x0180_0000_0000;
const FIRST_LAPSED_NUMBER: u64 = 0x0190_0000_0000;
/// Reservations a second, of other items, while the sweep works: enough to see it, not enough to fill the machine.
const RATE: f64 = 200.0;
const CALLERS: u64 = 16;
/// Holds that one call of the sweep records: its default.
const HOLDS_PER_CALL: u32 = 1_000;
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// A sweep that is not over by then is a fault.
const SWEEP_MAX: Duration = Duration::from_secs(1_800);

/// Opens a connection that checks no foreign key, where the role may: the rows are right by construction, and a million
/// checks would take longer than everything that is measured.
async fn loading(database_url: &str) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    if let Err(error) = connection.execute("set session_replication_role = replica").await
        && error.as_database_error().is_none()
    {
        return Err(error);
    }
    Ok(connection)
}

/// Fills the tables from `from` to `to` old reservations, rounded up to whole items.
pub async fn fill(database_url: &str, from: u64, to: u64) -> Result<(), sqlx::Error> {
    let mut connection = loading(database_url).await?;
    let (mut number, last) = (from.div_ceil(OLD_PER_ITEM), to.div_ceil(OLD_PER_ITEM));
    while number < last {
        let item_count = (last - number).min(ITEMS_AT_ONCE);
        sqlx::query(include_str!("sql/old_reservations.sql"))
            .bind(as_bigint(item_count))
            .bind(as_bigint(OLD_PER_ITEM.min(to)))
            .bind(as_bigint(FIRST_NUMBER + number * OLD_PER_ITEM))
            .execute(&mut connection)
            .await?;
        number += item_count;
    }
    settle(connection).await
}

/// Leaves the tables as a long quiet time does: vacuumed, and flushed, so that nothing of what was written is flushed while
/// something is measured.
async fn settle(mut connection: PgConnection) -> Result<(), sqlx::Error> {
    for table in ["items", "reservations", "ledger"] {
        connection.execute(sqlx::AssertSqlSafe(format!("vacuum (analyze) stockhold.{table}"))).await?;
    }
    if let Err(error) = connection.execute("checkpoint").await
        && error.as_database_error().is_none()
    {
        return Err(error);
    }
    connection.close().await
}

/// Makes items with so many lapsed holds altogether, and answers their ids.
async fn lapse(database_url: &str, holds: u64) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut connection = loading(database_url).await?;
    let per_item = OLD_PER_ITEM.min(holds).max(1);
    let mut item_ids = Vec::new();
    while (item_ids.len() as u64) < holds / per_item {
        let item_count = (holds / per_item - item_ids.len() as u64).min(ITEMS_AT_ONCE);
        let rows = sqlx::query(include_str!("sql/lapsed_holds.sql"))
            .bind(as_bigint(item_count))
            .bind(as_bigint(per_item))
            .bind(as_bigint(FIRST_LAPSED_NUMBER + item_ids.len() as u64 * per_item))
            .fetch_all(&mut connection)
            .await?;
        for row in rows {
            item_ids.push(row.try_get(0)?);
        }
    }
    settle(connection).await?;
    Ok(item_ids)
}

fn as_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What the sweep needs to know.
pub struct Field<'a> {
    /// The database.
    pub database_url: &'a str,
    /// The service.
    pub origin: Arc<Origin>,
    /// Its process id.
    pub pid: u32,
    /// Items that others reserve meanwhile.
    pub stock: Arc<Stock>,
    /// How many lapsed holds there are.
    pub holds: u64,
    /// How long the others reserve, quietly and then beside the sweep.
    pub measured: Duration,
    /// Where choices come from.
    pub seed: Seed,
}

/// Measures the others alone, then beside the sweep, and lets the sweep end.
pub async fn sweep(field: Field<'_>, failures: &mut Vec<String>) -> Result<Sweep, String> {
    let item_ids = lapse(field.database_url, field.holds)
        .await
        .map_err(|error| format!("the lapsed holds cannot be written: {error}"))?;
    let quiet = others(&field, "quiet").await?;
    let over = Arc::new(AtomicBool::new(false));
    let probe = tokio::spawn(probe(
        field.database_url.to_owned(),
        item_ids.clone(),
        Arc::clone(&over),
        field.seed.fork("probe", 0),
    ));
    let origin = Arc::clone(&field.origin);
    let sweeping = tokio::spawn(async move { sweep_all(&origin).await });
    let meanwhile = others(&field, "meanwhile").await?;
    let covered = !sweeping.is_finished();
    let swept = sweeping.await.map_err(|error| error.to_string());
    over.store(true, Ordering::Relaxed);
    let (expired_count, took, call) = swept??;
    let lock_wait = probe.await.map_err(|error| error.to_string())?.map_err(|error| format!("the probe: {error}"))?;

    for load in [&quiet, &meanwhile] {
        failures.extend(load.examples.iter().map(|example| format!("sweep: {example}")));
    }
    let expected = item_ids.len() as u64 * OLD_PER_ITEM.min(field.holds).max(1);
    if expired_count != expected {
        failures.push(format!("the sweep recorded {expired_count} of {expected} lapsed holds"));
    }
    Ok(Sweep {
        lapsed_holds: expected,
        expired_count,
        seconds: took.as_secs_f64(),
        expired_per_second: expired_count as f64 / took.as_secs_f64(),
        rate: RATE,
        quiet: quiet.latency.quantiles(),
        meanwhile: meanwhile.latency.quantiles(),
        covered,
        call: call.quantiles(),
        lock_wait: lock_wait.quantiles(),
        lock_wait_count: lock_wait.count(),
    })
}

async fn others(field: &Field<'_>, part: &str) -> Result<load::Load, String> {
    let seed = field.seed.fork(part, 0);
    let callers = (0..CALLERS)
        .map(|number| {
            let (origin, stock) = (Arc::clone(&field.origin), Arc::clone(&field.stock));
            HttpCaller::new(origin, Script::Reserve, stock, seed.fork("caller", number))
        })
        .collect();
    let effort = Effort {
        pace: Pace::Open(RATE),
        warm_up: Duration::from_millis(500),
        measured: field.measured,
        services: vec![field.pid],
    };
    load::run(callers, effort).await
}

#[derive(Deserialize)]
struct Swept {
    expired_count: u64,
    has_more: bool,
}

/// Calls the sweep until nothing is due: how much it recorded, how long it took, and how long its calls did.
async fn sweep_all(origin: &Origin) -> Result<(u64, Duration, Latency), String> {
    let told = |error: std::io::Error| format!("the sweep: {error}");
    let mut connection = HttpConnection::open(origin).await.map_err(told)?;
    let body = format!("{{\"limit\":{HOLDS_PER_CALL}}}");
    let request = origin.request("POST", "/v1/maintenance/expire-reservations", &[], Some(&body));
    let (begun, mut latency, mut expired_count) = (Instant::now(), Latency::new()?, 0);
    while begun.elapsed() < SWEEP_MAX {
        let asked = Instant::now();
        let response = connection.exchange(&request).await.map_err(told)?;
        latency.record(asked.elapsed());
        let text = String::from_utf8_lossy(&response.body);
        let swept: Swept = serde_json::from_slice(&response.body)
            .map_err(|_| format!("the sweep answered {}: {text}", response.status))?;
        expired_count += swept.expired_count;
        if !swept.has_more {
            return Ok((expired_count, begun.elapsed(), latency));
        }
    }
    Err(format!("the sweep was not over after {} s", SWEEP_MAX.as_secs()))
}

/// Asks again and again for the row of an item that is being swept: what it waits, whoever needs that item waits.
async fn probe(
    database_url: String,
    item_ids: Vec<Uuid>,
    over: Arc<AtomicBool>,
    mut seed: Seed,
) -> Result<Latency, String> {
    let told = |error: sqlx::Error| error.to_string();
    let mut connection = PgConnection::connect(&database_url).await.map_err(told)?;
    let mut latency = Latency::new()?;
    while !over.load(Ordering::Relaxed) {
        let item_id = item_ids.get(seed.below(item_ids.len() as u64) as usize).copied().unwrap_or_default();
        let asked = Instant::now();
        sqlx::query("select id from stockhold.items where id = $1 for no key update")
            .bind(item_id)
            .execute(&mut connection)
            .await
            .map_err(told)?;
        latency.record(asked.elapsed());
        tokio::time::sleep(PROBE_PAUSE).await;
    }
    Ok(latency)
}
