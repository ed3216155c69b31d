//! Ask whether the database answers and which schema it has.

use std::time::{Duration, Instant};

use crate::db::Database;
use crate::error::Error;
use crate::statement::{Statement, statement};

const HEALTH: Statement = statement!("health");

/// The database's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The newest migration applied; none when the schema is empty.
    pub migration_version: Option<i32>,
    /// How long the question took, a connection included.
    pub round_trip: Duration,
}

#[derive(sqlx::FromRow)]
struct Row {
    migration_version: Option<i32>,
}

pub(crate) async fn health(database: &Database) -> Result<Health, Error> {
    let started = Instant::now();
    let answer = database.fetch(&HEALTH, &[]).await?;
    let row: Option<Row> = HEALTH.decode_first(&answer)?;
    Ok(Health { migration_version: row.and_then(|row| row.migration_version), round_trip: started.elapsed() })
}
