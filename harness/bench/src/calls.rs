//! What is called over HTTP: one caller, one keep-alive connection, one call at a time, every answer judged and counted.

use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    load::Caller,
    stock::{Change, Stock},
};
use stockhold_harness::internal::{
    history::Seed,
    target::{Connection, Origin},
};

/// What a caller does, over and over.
#[derive(Clone, Debug)]
pub enum Script {
    /// Reserves one unit of an item, each as likely as any other.
    Reserve,
    /// The same; the most popular item is twice as likely as the second, three times as likely as the third.
    ReserveByPopularity(Arc<Popularity>),
    /// Asks for a unit of an item that is sold out.
    AskSoldOut,
    /// Reserves a unit, then confirms it: two calls.
    ReserveThenConfirm,
    /// Half reserves, 20 % confirms and 15 % cancels of its own holds, 15 % reads of an item.
    Mix,
    /// Reads a route that no database answers.
    ReadStatic,
    /// Reserves at the Express service of the baseline.
    ReserveAtExpress,
}

/// Chances that fall as 1/rank: Zipf's law with exponent 1.
#[derive(Debug)]
pub struct Popularity {
    cumulative: Vec<f64>,
}

impl Popularity {
    /// Ranks from 1 to `count`.
    pub fn new(count: usize) -> Arc<Self> {
        let mut sum = 0.0;
        let add = |rank: usize| {
            sum += 1.0 / rank as f64;
            sum
        };
        Arc::new(Popularity { cumulative: (1..=count).map(add).collect() })
    }

    /// A rank, from 0.
    fn choose(&self, seed: &mut Seed) -> usize {
        let last = self.cumulative.last().copied().unwrap_or_default();
        let point = (seed.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * last;
        self.cumulative.partition_point(|sum| *sum <= point).min(self.cumulative.len().saturating_sub(1))
    }
}

/// One virtual client.
pub struct HttpCaller {
    origin: Arc<Origin>,
    connection: Option<Connection>,
    script: Script,
    stock: Arc<Stock>,
    seed: Seed,
    /// Its own holds.
    holds: Vec<Uuid>,
}

#[derive(Deserialize)]
struct Reservation {
    id: Uuid,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
}

impl HttpCaller {
    /// A caller that has called nobody yet.
    pub fn new(origin: Arc<Origin>, script: Script, stock: Arc<Stock>, seed: Seed) -> Self {
        HttpCaller { origin, connection: None, script, stock, seed, holds: Vec::new() }
    }

    /// Makes a call, whose status must be this, and answers the body.
    async fn send(&mut self, method: &str, path: &str, body: Option<&str>, status: u16) -> Result<Vec<u8>, String> {
        if self.connection.is_none() {
            self.connect().await?;
        }
        let connection = self.connection.as_mut().ok_or("no connection")?;
        let answer = connection.exchange(&self.origin.request(method, path, &[], body)).await;
        match answer {
            Ok(response) if response.status == status => Ok(response.body),
            Ok(response) => {
                self.connection = None;
                let text = String::from_utf8_lossy(&response.body);
                let start: String = text.chars().take(200).collect();
                Err(format!("{method} {} answered {}: {start}", shape(path), response.status))
            }
            Err(error) => {
                self.connection = None;
                Err(format!("{method} {}: {error}", shape(path)))
            }
        }
    }

    fn item_id(&mut self) -> Option<Uuid> {
        let count = self.stock.item_ids.len();
        let index = match &self.script {
            Script::ReserveByPopularity(popularity) => popularity.choose(&mut self.seed),
            _ if count == 1 => 0,
            _ => self.seed.below(count as u64) as usize,
        };
        self.stock.item_ids.get(index).copied()
    }

    async fn reserve(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let item_id = self.item_id().ok_or("no item")?;
        let body = reservation_of(item_id);
        let answer = self.send("POST", path, Some(&body), 201).await?;
        self.stock.count(Change::Reserved);
        Ok(answer)
    }

    async fn reserve_and_hold(&mut self) -> Result<(), String> {
        let answer = self.reserve(RESERVATIONS).await?;
        let reservation: Reservation =
            serde_json::from_slice(&answer).map_err(|error| format!("a reservation without an id: {error}"))?;
        self.holds.push(reservation.id);
        Ok(())
    }

    async fn end(&mut self, hold: Uuid, verb: &str, change: Change) -> Result<(), String> {
        self.send("POST", &format!("{RESERVATIONS}/{hold}/{verb}"), None, 200).await?;
        self.stock.count(change);
        Ok(())
    }

    async fn mix(&mut self) -> Result<(), String> {
        match (self.seed.below(100), self.holds.is_empty()) {
            (0..50, _) | (50..85, true) => self.reserve_and_hold().await,
            (choice @ 50..85, false) => {
                let index = self.seed.below(self.holds.len() as u64) as usize;
                let hold = self.holds.swap_remove(index);
                if choice < 70 {
                    self.end(hold, "confirm", Change::Confirmed).await
                } else {
                    self.end(hold, "cancel", Change::Cancelled).await
                }
            }
            _ => {
                let item_id = self.item_id().ok_or("no item")?;
                self.send("GET", &format!("/v1/items/{item_id}"), None, 200).await.map(drop)
            }
        }
    }

    async fn be_refused(&mut self) -> Result<(), String> {
        let body = reservation_of(self.item_id().ok_or("no item")?);
        let answer = self.send("POST", RESERVATIONS, Some(&body), 409).await?;
        match serde_json::from_slice::<Problem>(&answer) {
            Ok(problem) if problem.code == "insufficient_availability" => Ok(()),
            _ => Err(format!("a refusal that says {}", String::from_utf8_lossy(&answer))),
        }
    }
}

impl Caller for HttpCaller {
    async fn connect(&mut self) -> Result<(), String> {
        self.connection =
            Some(Connection::open(&self.origin).await.map_err(|error| format!("no connection: {error}"))?);
        Ok(())
    }

    async fn call(&mut self) -> Result<(), String> {
        match self.script {
            Script::Reserve | Script::ReserveByPopularity(_) => self.reserve(RESERVATIONS).await.map(drop),
            Script::ReserveAtExpress => self.reserve("/reservations").await.map(drop),
            Script::AskSoldOut => self.be_refused().await,
            Script::ReserveThenConfirm => match self.holds.pop() {
                None => self.reserve_and_hold().await,
                Some(hold) => self.end(hold, "confirm", Change::Confirmed).await,
            },
            Script::Mix => self.mix().await,
            Script::ReadStatic => self.send("GET", STATIC, None, 200).await.map(drop),
        }
    }
}

const RESERVATIONS: &str = "/v1/reservations";
/// A small page; the OpenAPI document would measure the copying of its 40 KiB.
const STATIC: &str = "/docs";

/// A hold that does not lapse before the benchmark ends.
fn reservation_of(item_id: Uuid) -> String {
    format!("{{\"item_id\":\"{item_id}\",\"customer_id\":\"bench\",\"quantity\":1,\"ttl_seconds\":86400}}")
}

/// A path without its ids, so that the same failure is told once.
fn shape(path: &str) -> String {
    let shaped = |segment: &str| if Uuid::try_parse(segment).is_ok() { "ID".to_owned() } else { segment.to_owned() };
    path.split('/').map(shaped).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_is_chosen_two_times_in_three() {
        let popularity = Popularity::new(2);
        let mut seed = Seed::new(1);
        let first = (0..30_000).filter(|_| popularity.choose(&mut seed) == 0).count();
        assert!((19_500..20_500).contains(&first), "{first}");
    }

    #[test]
    fn the_same_failure_of_two_ids_reads_the_same() {
        assert_eq!(shape(&format!("/v1/reservations/{}/confirm", Uuid::nil())), "/v1/reservations/ID/confirm");
    }
}
