//! What the figures depend on: the machine, the versions, the database's settings.

use std::collections::BTreeMap;

use sqlx::{Connection, PgConnection, Row};

/// Settings that decide what a commit costs, and how many clients may connect.
const SETTINGS: [&str; 7] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "max_connections",
];

/// The machine.
pub fn machine() -> BTreeMap<String, String> {
    let cores = std::thread::available_parallelism().map_or_else(|_| "unknown".to_owned(), |count| count.to_string());
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    let build = if cfg!(debug_assertions) { " (a debug build)" } else { "" };
    BTreeMap::from([
        ("processor".to_owned(), format!("{model}, {cores} cores")),
        ("system".to_owned(), std::env::consts::OS.to_owned()),
        ("stockhold".to_owned(), format!("{}{build}", env!("CARGO_PKG_VERSION"))),
    ])
}

/// The database's version and settings.
pub async fn database(database_url: &str) -> Result<BTreeMap<String, String>, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    let rows = sqlx::query("select name, current_setting(name) from unnest($1::text[]) as name")
        .bind(SETTINGS.map(str::to_owned).to_vec())
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    rows.iter().map(|row| Ok((format!("postgresql {}", row.try_get::<String, _>(0)?), row.try_get(1)?))).collect()
}

/// A fault in a database that must not be filled: one that holds items already.
pub async fn refuse_used(database_url: &str) -> Result<(), String> {
    let look = async {
        let mut connection = PgConnection::connect(database_url).await?;
        let known: bool =
            sqlx::query_scalar("select to_regclass('stockhold.items') is not null").fetch_one(&mut connection).await?;
        if !known {
            return Ok(false);
        }
        sqlx::query_scalar("select exists (select from stockhold.items)").fetch_one(&mut connection).await
    };
    match look.await {
        Ok(false) => Ok(()),
        Ok(true) => Err("the database holds items already: give the benchmark an empty one".to_owned()),
        Err(error) => Err(format!("the database cannot be used: {error}")),
    }
}
