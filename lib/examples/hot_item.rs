//! Many callers reserve one item, inside one process and without HTTP: what the benchmark measures of the library.
//! It prints one line of JSON.
//!
//! `DATABASE_URL=postgres://… cargo run --release -p stockhold --example hot_item -- ITEM CALLERS WARM_UP_SECONDS SECONDS`

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use stockhold::{Config, Inventory, NewReservation, Reserve};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [item_id, callers, warm_up, seconds] = arguments.as_slice() else {
        bail!("usage: hot_item ITEM CALLERS WARM_UP_SECONDS SECONDS");
    };
    let item_id = item_id.parse().context("ITEM is no id")?;
    let new_reservation =
        NewReservation::new(item_id, "bench".parse()?, 1.try_into()?).for_seconds(86_400.0.try_into()?);
    let seconds: f64 = seconds.parse()?;
    let inventory = Inventory::connect(&Config::from_env()?).await?;

    let begin = Instant::now() + Duration::from_secs_f64(warm_up.parse()?);
    let end = begin + Duration::from_secs_f64(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers.parse::<u32>()? {
        tasks.spawn(call(inventory.clone(), new_reservation.clone(), begin, end));
    }
    let (mut latencies_us, mut calls, mut reserved_count) = (Vec::new(), 0, 0);
    while let Some(ended) = tasks.join_next().await {
        let caller = ended??;
        latencies_us.extend(caller.latencies_us);
        calls += caller.calls;
        reserved_count += caller.reserved_count;
    }
    latencies_us.sort_by(f64::total_cmp);
    let at = |share: f64| latencies_us.get((latencies_us.len() as f64 * share) as usize).copied().unwrap_or_default();
    let answer = json!({
        "reserved_count": reserved_count, "calls": calls, "seconds": seconds,
        "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "p999_us": at(0.999),
        "max_us": latencies_us.last().copied().unwrap_or_default(),
    });
    println!("{answer}");
    Ok(())
}

/// What one caller saw.
#[derive(Default)]
struct Caller {
    /// Of the calls made within the time.
    latencies_us: Vec<f64>,
    /// Calls that ended within the time.
    calls: u64,
    /// Units held, at any time.
    reserved_count: u64,
}

async fn call(
    inventory: Inventory,
    new_reservation: NewReservation,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Caller> {
    let mut caller = Caller::default();
    let mut asked = Instant::now();
    while asked < end {
        match inventory.reserve(new_reservation.clone(), None).await? {
            Reserve::Reserved(_) => caller.reserved_count += 1,
            refusal => bail!("refused: {refusal:?}"),
        }
        let answered = Instant::now();
        if (begin..end).contains(&answered) {
            caller.calls += 1;
        }
        if asked >= begin {
            caller.latencies_us.push((answered - asked).as_secs_f64() * 1e6);
        }
        asked = answered;
    }
    Ok(caller)
}
