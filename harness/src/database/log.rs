//! Every committed state, as PostgreSQL's own log has it: the changes of items and reservations by logical decoding, replayed
//! in commit order. It owes nothing to the service's code, and sees what lasts for one commit only.
//!
//! Message formats: PostgreSQL, "Logical Replication Message Formats", protocol version 1.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};

use crate::{
    check::verdict::{Breach, Layer, Violation},
    database::books::plain,
    target::mapping::Mapping,
};

/// A replication slot of the harness's own, and the state so far.
pub struct Log {
    connection: PgConnection,
    name: String,
    decoder: Decoder,
}

impl Log {
    /// Makes a publication and a temporary slot; both are gone after [`Log::leave`], the slot also if this process dies.
    pub async fn open(database_url: &str, run: &str, mapping: Option<&Mapping>) -> Result<Self, String> {
        let mapping = mapping.cloned().unwrap_or_else(Mapping::stockhold);
        let tables = format!("{}, {}", mapping.items, mapping.reservations);
        let options: PgConnectOptions =
            database_url.parse().map_err(|_| "the database URL is not a PostgreSQL URL".to_owned())?;
        let mut connection = PgConnection::connect_with(&options.statement_cache_capacity(0))
            .await
            .map_err(|error| format!("the database cannot be reached: {}", plain(&error)))?;
        let letters: String = run.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("stockhold_harness_{}", letters.to_lowercase());
        for sql in [
            "set timezone = 'UTC'; set datestyle = 'ISO'; set synchronous_commit = on".to_owned(),
            format!("create publication {name} for table {tables}"),
            format!("select pg_create_logical_replication_slot('{name}', 'pgoutput', true)"),
        ] {
            execute(&mut connection, sql).await.map_err(|error| {
                format!(
                    "the log cannot be read ({error}): it takes wal_level = logical, a role that may replicate and owns the \
                     tables, and no pooler"
                )
            })?;
        }
        Ok(Log { connection, name, decoder: Decoder { mapping, ..Decoder::default() } })
    }

    /// Reads what was committed since the last time, and says how many states of this item it saw and what is wrong with
    /// them. Other items are forgotten.
    pub async fn replay(&mut self, item: &str) -> Result<(usize, Vec<Violation>), String> {
        // Only what was flushed is decoded, and a server may flush later than it answers: a commit that waits for its own
        // flush takes with it all that came before.
        let flush = "select pg_logical_emit_message(true, 'stockhold_harness', '')".to_owned();
        execute(&mut self.connection, flush).await?;
        let sql = format!(
            "select data from pg_logical_slot_get_binary_changes('{0}', null, null, 'proto_version', '1', \
             'publication_names', '{0}')",
            self.name
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| format!("the log cannot be read: {}", plain(&error)))?;
        let mut violations = Vec::new();
        let mut states = 0;
        for row in rows {
            let message: Vec<u8> = row.try_get(0).map_err(|error| plain(&error))?;
            for (changed, what) in self.decoder.read(&message)? {
                if changed == item {
                    states += 1;
                    violations.extend(what.map(|what| Violation::new(Layer::Log, Breach::SoldTwice, what)));
                }
            }
        }
        self.decoder.items.clear();
        Ok((states, violations))
    }

    /// Takes the slot and the publication away.
    pub async fn leave(mut self) -> Result<(), String> {
        execute(&mut self.connection, format!("select pg_drop_replication_slot('{}')", self.name)).await?;
        execute(&mut self.connection, format!("drop publication if exists {}", self.name)).await
    }
}

async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), String> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop).map_err(|error| plain(&error))
}

/// Messages in, judged states out.
#[derive(Default)]
struct Decoder {
    mapping: Mapping,
    /// Table and columns by the log's own number.
    relations: HashMap<u32, (String, Vec<String>)>,
    items: BTreeMap<String, Item>,
    /// Items that the transaction at hand changed.
    touched: Vec<String>,
}

/// An item as the last commit left it.
#[derive(Clone, Debug, Default)]
struct Item {
    /// Its total, and held and confirmed where the row has them.
    counters: Option<(i64, Option<i64>, Option<i64>)>,
    reservations: HashMap<String, Reservation>,
}

#[derive(Clone, Debug)]
struct Reservation {
    quantity: i64,
    state: State,
    expires_at_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Confirmed,
    Ended,
}

/// The item that a commit changed, and what is wrong with it now.
type Judged = (String, Option<String>);

/// From the log's epoch, 2000-01-01, to 1970-01-01.
const EPOCH_US: i64 = 946_684_800_000_000;

impl Decoder {
    /// One message. A commit judges every item it changed.
    fn read(&mut self, message: &[u8]) -> Result<Vec<Judged>, String> {
        let mut bytes = Bytes(message);
        match bytes.u8()? {
            b'R' => {
                let number = bytes.u32()?;
                let _schema = bytes.text()?;
                let table = bytes.text()?;
                let _identity = bytes.u8()?;
                let count = bytes.u16()?;
                let mut columns = Vec::new();
                for _ in 0..count {
                    let _key = bytes.u8()?;
                    columns.push(bytes.text()?);
                    let _type = (bytes.u32()?, bytes.u32()?);
                }
                self.relations.insert(number, (table, columns));
            }
            b'I' | b'U' => {
                let number = bytes.u32()?;
                let mut part = bytes.u8()?;
                if part != b'N' {
                    bytes.tuple()?;
                    part = bytes.u8()?;
                }
                if part != b'N' {
                    return Err("the log's message has no new row".to_owned());
                }
                let values = bytes.tuple()?;
                self.change(number, values)?;
            }
            b'D' => {
                let number = bytes.u32()?;
                let _identity = bytes.u8()?;
                let values = bytes.tuple()?;
                self.delete(number, &values);
            }
            b'C' => {
                let _flags = bytes.u8()?;
                let _positions = (bytes.u64()?, bytes.u64()?);
                let committed_us = bytes.u64()?.cast_signed() + EPOCH_US;
                let mut touched = std::mem::take(&mut self.touched);
                touched.sort_unstable();
                touched.dedup();
                let judge = |id: String| {
                    let what = self.items.get(&id).and_then(|item| item.judge(committed_us));
                    (id, what)
                };
                return Ok(touched.into_iter().map(judge).collect());
            }
            // Begin, truncate, origin, type: none of them changes a row.
            _ => {}
        }
        Ok(Vec::new())
    }

    fn change(&mut self, number: u32, values: Vec<Option<String>>) -> Result<(), String> {
        let (table, columns) = self.relations.get(&number).ok_or("the log speaks of a table it did not introduce")?;
        let column = |name: &str| -> Result<String, String> {
            let place = columns.iter().position(|column| column == name);
            let value = place.and_then(|place| values.get(place)?.clone());
            value.ok_or_else(|| format!("the log's row of {table} has no {name}"))
        };
        let count = |name: &str| column(name)?.parse::<i64>().map_err(|_| format!("{name} is no number in the log"));
        let kept = |name: &str| if name.is_empty() { Ok(None) } else { count(name).map(Some) };
        let mapping = &self.mapping;
        if is_called(&mapping.items, table) {
            // Without a total nothing can be too much.
            let total = kept(&mapping.total)?.unwrap_or(i64::MAX);
            let counters = (total, kept(&mapping.held)?, kept(&mapping.confirmed)?);
            let id = column(&mapping.item_id)?;
            self.items.entry(id.clone()).or_default().counters = Some(counters);
            self.touched.push(id);
        } else if is_called(&mapping.reservations, table) {
            let (id, item) = (column(&mapping.reservation_id)?, column(&mapping.reservation_item)?);
            let status = column(&mapping.status)?;
            let state = if mapping.pending_statuses.contains(&status) {
                State::Pending
            } else if mapping.confirmed_statuses.contains(&status) {
                State::Confirmed
            } else {
                State::Ended
            };
            // A hold that has ended may have no deadline any more.
            let expires_at_us = match column(&mapping.expires_at) {
                Ok(text) => instant_us(&text)?,
                Err(_) if state != State::Pending => 0,
                Err(why) => return Err(why),
            };
            let reservation = Reservation { quantity: count(&mapping.quantity)?, state, expires_at_us };
            self.items.entry(item.clone()).or_default().reservations.insert(id, reservation);
            self.touched.push(item);
        }
        Ok(())
    }

    /// A reservation whose row is gone holds nothing any more.
    fn delete(&mut self, number: u32, values: &[Option<String>]) {
        let Some((table, columns)) = self.relations.get(&number) else { return };
        let place = columns.iter().position(|column| *column == self.mapping.reservation_id);
        let id = place.and_then(|place| values.get(place)?.as_ref());
        if let (true, Some(id)) = (is_called(&self.mapping.reservations, table), id) {
            for item in self.items.values_mut() {
                item.reservations.remove(id);
            }
        }
    }
}

/// Whether a mapped table, with or without its schema and quotes, has this name.
fn is_called(mapped: &str, table: &str) -> bool {
    mapped.rsplit('.').next().is_some_and(|name| name.trim_matches('"') == table)
}

impl Item {
    /// What is wrong with the state that a commit left, if anything. A hold counts until its deadline; between commits
    /// deadlines only free units, so it is enough to look at commits.
    fn judge(&self, committed_us: i64) -> Option<String> {
        // An item that was there before the slot is not known whole.
        let (total, held, confirmed) = self.counters?;
        let sum = |of: &dyn Fn(&Reservation) -> bool| -> i64 {
            self.reservations.values().filter(|row| of(row)).map(|row| row.quantity).sum()
        };
        let sold = sum(&|row| row.state == State::Confirmed);
        let pending = sum(&|row| row.state == State::Pending);
        let active = sum(&|row| row.state == State::Pending && row.expires_at_us > committed_us);
        let counters = held.zip(confirmed);
        if sold + active > total {
            return Some(format!("a commit left confirmed {sold} + active {active} > total {total}"));
        }
        let (held, confirmed) = counters?;
        if held + confirmed > total {
            Some(format!("a commit left the counters at held {held} + confirmed {confirmed} > total {total}"))
        } else if (held, confirmed) != (pending, sold) {
            Some(format!(
                "a commit left the counters at held {held}, confirmed {confirmed}, and rows that add up to {pending}, {sold}"
            ))
        } else {
            None
        }
    }
}

/// A timestamp with its zone as the log writes it: `2026-01-31 12:00:00.123456+00`.
fn instant_us(text: &str) -> Result<i64, String> {
    chrono::DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z")
        .map(|instant| instant.timestamp_micros())
        .map_err(|_| format!("{text:?} is no timestamp in the log"))
}

/// What is left of a message.
struct Bytes<'m>(&'m [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (first, rest) = self.0.split_first_chunk().ok_or("the log's message is cut short")?;
        self.0 = rest;
        Ok(*first)
    }

    fn u8(&mut self) -> Result<u8, String> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or("the log's message is cut short")?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// A row's values as text; none where a value is null or was not written again.
    fn tuple(&mut self) -> Result<Vec<Option<String>>, String> {
        let count = self.u16()?;
        let mut values = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            values.push(match self.u8()? {
                b't' => {
                    let length = self.u32()? as usize;
                    let (value, rest) = self.0.split_at_checked(length).ok_or("the log's message is cut short")?;
                    self.0 = rest;
                    Some(String::from_utf8_lossy(value).into_owned())
                }
                _ => None,
            });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(counters: (i64, i64, i64), rows: &[(i64, &str, i64)]) -> Item {
        let row = |(place, (quantity, status, expires_at_us)): (usize, &(i64, &str, i64))| {
            let state = match *status {
                "PENDING" => State::Pending,
                "CONFIRMED" => State::Confirmed,
                _ => State::Ended,
            };
            (place.to_string(), Reservation { quantity: *quantity, state, expires_at_us: *expires_at_us })
        };
        let (total, held, confirmed) = counters;
        Item {
            counters: Some((total, Some(held), Some(confirmed))),
            reservations: rows.iter().enumerate().map(row).collect(),
        }
    }

    #[test]
    fn a_lapsed_hold_counts_in_the_counters_and_not_against_the_total() {
        let state = item((2, 2, 0), &[(1, "PENDING", 100), (1, "PENDING", 300), (1, "CANCELLED", 300)]);
        assert_eq!(state.judge(200), None);
        let resold = item((1, 1, 0), &[(1, "PENDING", 300), (1, "EXPIRED", 100)]);
        assert_eq!(resold.judge(200), None);
    }

    #[test]
    fn one_commit_too_many_is_seen() {
        let oversold = item((1, 1, 1), &[(1, "PENDING", 300), (1, "CONFIRMED", 300)]);
        assert!(oversold.judge(200).is_some_and(|what| what.contains("> total 1")));
        let late = item((1, 0, 1), &[(1, "PENDING", 100), (1, "CONFIRMED", 300)]);
        assert!(late.judge(200).is_some_and(|what| what.contains("rows that add up to 1, 1")));
    }

    #[test]
    fn timestamps_are_read_as_the_log_writes_them() {
        assert_eq!(instant_us("1970-01-01 00:00:01.5+00"), Ok(1_500_000));
        assert_eq!(instant_us("1970-01-01 02:00:00+02"), Ok(0));
        assert_eq!(instant_us("1970-01-01 05:30:00+05:30"), Ok(0));
        assert!(instant_us("soon").is_err());
    }
}
