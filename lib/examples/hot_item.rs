//! How fast one item sells: 200 callers in one process, coalescing on and off, beside the database's own limit for a row.
//!
//! `DATABASE_URL=postgres://… cargo run --release -p stockhold --example hot_item`, against a server whose commits are durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use stockhold::{Config, CreateItem, Inventory, NewItem, NewReservation, Reserve};
use uuid::Uuid;

const MEASURE: Duration = Duration::from_secs(3);
const CALLER_COUNT: usize = 200;
const LONE_CALL_COUNT: usize = 4_000;

#[tokio::main]
async fn main() -> Result<()> {
    let config = Config::from_env()?;
    let together = Inventory::connect(&Config { coalescing: true, ..config.clone() }).await?;
    let alone = Inventory::connect(&Config { coalescing: false, ..config.clone() }).await?;
    together.migrate().await?;

    let mut best = 0.0_f64;
    for client_count in [1, 2, 4, 8] {
        let rate = update_one_row(&config, item(&together).await?, client_count).await?;
        println!("bare update of one row, {client_count} clients: {rate:.0}/s");
        best = best.max(rate);
    }
    for (name, inventory) in [("off", &alone), ("on", &together)] {
        let before = inventory.coalesced();
        let rate = reserve_one_item(inventory, CALLER_COUNT).await?;
        let after = inventory.coalesced();
        println!(
            "reserve one item, {CALLER_COUNT} callers, coalescing {name}: {rate:.0}/s, {:.1} x the best bare update, {:.0} calls a statement",
            rate / best,
            (after.call_count - before.call_count) as f64
                / (after.statement_count - before.statement_count).max(1) as f64
        );
    }
    let (off, on) = lone_latency(&alone, &together).await?;
    println!(
        "a lone reserve, median: coalescing off {off:.1?}, on {on:.1?}, {:+.1} %",
        (on.as_secs_f64() / off.as_secs_f64() - 1.0) * 100.0
    );
    Ok(())
}

async fn item(inventory: &Inventory) -> Result<Uuid> {
    let new_item = NewItem {
        name: "Hot".try_into().map_err(anyhow::Error::msg)?,
        initial_quantity: 1_000_000_000.try_into().map_err(anyhow::Error::msg)?,
        sku: None,
        metadata: None,
    };
    match inventory.create_item(new_item, None).await? {
        CreateItem::Created(item) => Ok(item.id),
        other => bail!("not created: {other:?}"),
    }
}

async fn update_one_row(config: &Config, item_id: Uuid, client_count: usize) -> Result<f64> {
    let count = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..client_count {
        let mut connection = PgConnection::connect(&config.database_url).await?;
        let count = count.clone();
        clients.push(tokio::spawn(async move {
            while started.elapsed() < MEASURE {
                let sql = "update stockhold.items set held_quantity = held_quantity + 1 where id = $1";
                connection.execute(sqlx::query(sql).bind(item_id)).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    for client in clients {
        client.await??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

async fn reserve(inventory: &Inventory, item_id: Uuid) -> Result<()> {
    let new_reservation = NewReservation {
        item_id,
        customer_id: "customer".try_into().map_err(anyhow::Error::msg)?,
        quantity: 1.try_into().map_err(anyhow::Error::msg)?,
        ttl_seconds: Default::default(),
    };
    match inventory.reserve(new_reservation, None).await? {
        Reserve::Reserved(_) => Ok(()),
        other => bail!("not reserved: {other:?}"),
    }
}

async fn reserve_one_item(inventory: &Inventory, caller_count: usize) -> Result<f64> {
    let item_id = item(inventory).await?;
    let count = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let callers: Vec<_> = (0..caller_count)
        .map(|_| {
            let (inventory, count) = (inventory.clone(), count.clone());
            tokio::spawn(async move {
                while started.elapsed() < MEASURE {
                    reserve(&inventory, item_id).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

/// Medians of calls made one at a time, in turns, so that both meet the same machine.
async fn lone_latency(off: &Inventory, on: &Inventory) -> Result<(Duration, Duration)> {
    let item_id = item(off).await?;
    let (mut off_latencies, mut on_latencies) = (Vec::new(), Vec::new());
    for _ in 0..LONE_CALL_COUNT {
        for (inventory, latencies) in [(off, &mut off_latencies), (on, &mut on_latencies)] {
            let started = Instant::now();
            reserve(inventory, item_id).await?;
            latencies.push(started.elapsed());
        }
    }
    off_latencies.sort_unstable();
    on_latencies.sort_unstable();
    Ok((off_latencies[LONE_CALL_COUNT / 2], on_latencies[LONE_CALL_COUNT / 2]))
}
