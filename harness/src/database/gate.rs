//! Gates: a transaction of the harness's own that holds a lock of the deployment's database, so that calls stop where
//! they would touch it; and the lookout that sees them wait.
//!
//! Waiting is observed in `pg_locks`, never guessed from time. A gate's session ends with this process, and its locks
//! with it.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::task::JoinHandle;

use crate::database::books::{literal, plain};

/// What a gate locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The table of items, in exclusive mode: calls stop after their plain reads and before their first lock or write, and
    /// a statement that stops here takes its snapshot afterwards.
    Items,
    /// The table of reservations, in share mode: calls stop before their first write to it.
    Reservations,
    /// The item's row, locked and left as it is: a statement that stops here keeps its snapshot, and its conditions are
    /// not evaluated again.
    Row,
    /// The item's row, locked by a change of nothing: a statement that stops here keeps its snapshot and evaluates its
    /// conditions again on the new version.
    Updated,
}

impl Kind {
    /// Every kind, in the order in which schedules are played.
    pub const ALL: [Kind; 4] = [Kind::Items, Kind::Reservations, Kind::Row, Kind::Updated];

    /// The word of schedules and reports.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Items => "items",
            Kind::Reservations => "reservations",
            Kind::Row => "row",
            Kind::Updated => "updated",
        }
    }

    /// The kind of this word.
    pub fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// How many calls such gates serve in the order of their arrival: a ladder of table gates any number, a row two.
    pub fn ordered_max(self) -> usize {
        match self {
            Kind::Items | Kind::Reservations => usize::MAX,
            Kind::Row | Kind::Updated => 2,
        }
    }

    /// Whether one gate waits behind the calls that stopped at the one before.
    pub fn is_ladder(self) -> bool {
        matches!(self, Kind::Items | Kind::Reservations)
    }
}

/// Where a deployment keeps its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The table of items.
    pub items: String,
    /// The table of reservations.
    pub reservations: String,
    /// The column of the item's table that holds the id which the API shows.
    pub item_id: String,
    /// A statement of the user's own that takes the lock, instead of the one of [`Kind::Items`]; `{item}` stands in it.
    pub gate_sql: Option<String>,
}

impl Default for Tables {
    fn default() -> Self {
        Tables {
            items: "stockhold.items".to_owned(),
            reservations: "stockhold.reservations".to_owned(),
            item_id: "id".to_owned(),
            gate_sql: None,
        }
    }
}

impl Tables {
    /// The statement that takes a gate's lock.
    fn lock(&self, kind: Kind, item: &str) -> String {
        let Tables { items, reservations, item_id, gate_sql } = self;
        let item = literal(item);
        match (kind, gate_sql) {
            (Kind::Items, Some(sql)) => sql.replace("'{item}'", &item).replace("{item}", &item),
            (Kind::Items, None) => format!("lock table {items} in exclusive mode"),
            (Kind::Reservations, _) => format!("lock table {reservations} in share mode"),
            // Compared as text: an id may be a uuid, a number or a text.
            (Kind::Row, _) => format!("select 1 from {items} where {item_id}::text = {item} for update"),
            (Kind::Updated, _) => format!("update {items} set {item_id} = {item_id} where {item_id}::text = {item}"),
        }
    }
}

/// No gate is held longer than this, whatever happens to the harness.
const HELD_MAX: Duration = Duration::from_secs(30);
/// Between two looks: short at first, because most calls reach the gate at once.
const LOOK_MIN: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(10);
/// How long a call may take to reach a gate or its answer before the schedule claims less.
const ARRIVAL_MAX: Duration = Duration::from_millis(1_500);

/// One gate: open, or holding its lock.
pub struct Gate {
    connection: PgConnection,
    /// The server process behind it.
    pub pid: i32,
}

impl Gate {
    async fn connect(database_url: &str) -> Result<Self, String> {
        let mut connection = connect(database_url).await?;
        let bound_ms = HELD_MAX.as_millis();
        execute(
            &mut connection,
            &format!(
                "set lock_timeout = {bound_ms}; set statement_timeout = {bound_ms}; \
                 set idle_in_transaction_session_timeout = {bound_ms}; \
                 set application_name = 'stockhold-harness gate'"
            ),
        )
        .await?;
        let pid = number(&mut connection, "select pg_backend_pid()").await?;
        Ok(Gate { connection, pid })
    }

    /// Takes the lock, behind whoever waits for it already.
    async fn hold(&mut self, lock: &str) -> Result<(), String> {
        execute(&mut self.connection, "begin isolation level read committed").await?;
        let rows = execute(&mut self.connection, lock).await?;
        if (lock.starts_with("select") || lock.starts_with("update")) && rows == 0 {
            execute(&mut self.connection, "rollback").await?;
            return Err(format!("the gate found no row to lock by: {lock}"));
        }
        Ok(())
    }

    /// Lets the calls go. A gate that was lost meanwhile says so, because whatever it held back went on by itself.
    async fn open(&mut self) -> Result<(), String> {
        execute(&mut self.connection, "commit").await.map(drop).map_err(|error| format!("a gate was lost: {error}"))
    }
}

/// The gates of one database and the lookout over them.
pub struct Gatehouse {
    database_url: String,
    tables: Tables,
    lookout: PgConnection,
    idle: Vec<Gate>,
}

/// What became of a call that was sent towards a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was seen to wait.
    Waits,
    /// It came back without waiting: it needed nothing that the gate holds.
    Passed,
    /// Neither: it waits where the database cannot see it, in a pool that is too small or behind another call.
    Unseen,
}

impl Gatehouse {
    /// Connects, and looks whether gates can be built here.
    pub async fn open(database_url: &str, tables: Tables) -> Result<Self, String> {
        let mut lookout = connect(database_url).await?;
        if number(&mut lookout, "select pg_is_in_recovery()::int").await? == 1 {
            return Err("this database is a replica: a gate must stand on the primary".to_owned());
        }
        for table in [&tables.items, &tables.reservations] {
            let known = format!("select (to_regclass({}) is not null)::int", literal(table));
            if number(&mut lookout, &known).await? == 0 {
                return Err(format!(
                    "there is no table {table} in this database: name the deployment's own with --items-table and \
                     --reservations-table"
                ));
            }
        }
        Ok(Gatehouse { database_url: database_url.to_owned(), tables, lookout, idle: Vec::new() })
    }

    /// Takes the first gate of a batch.
    pub async fn close(&mut self, kind: Kind, item: &str) -> Result<Ladder, String> {
        let lock = self.tables.lock(kind, item);
        let mut gate = self.gate().await?;
        gate.hold(&lock).await?;
        Ok(Ladder { first: gate, later: Vec::new(), lock, seen: BTreeSet::new(), pids: Vec::new(), calls: Vec::new() })
    }

    async fn gate(&mut self) -> Result<Gate, String> {
        match self.idle.pop() {
            Some(gate) => Ok(gate),
            None => Gate::connect(&self.database_url).await,
        }
    }

    /// Waits until a call that was just sent waits at the gates, or has come back.
    pub async fn arrival<T>(&mut self, ladder: &mut Ladder, call: &JoinHandle<T>) -> Result<Arrival, String> {
        let sent = std::time::Instant::now();
        let mut pause = LOOK_MIN;
        let (arrival, pids) = loop {
            let back = call.is_finished();
            let waiting = self.waiting(ladder.first.pid).await?;
            let new: BTreeSet<i32> = waiting.difference(&ladder.seen).copied().collect();
            if !new.is_empty() {
                ladder.seen = waiting;
                break (Arrival::Waits, new);
            }
            if back {
                break (Arrival::Passed, new);
            }
            if sent.elapsed() > ARRIVAL_MAX {
                break (Arrival::Unseen, new);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        };
        ladder.calls.push(Waiter { gate: ladder.later.len(), pids });
        Ok(arrival)
    }

    /// Sets a further gate behind the calls that wait, and sees it wait there.
    pub async fn behind(&mut self, ladder: &mut Ladder) -> Result<(), String> {
        let mut gate = self.gate().await?;
        let (pid, lock) = (gate.pid, ladder.lock.clone());
        let taken = tokio::spawn(async move { gate.hold(&lock).await.map(|()| gate) });
        let sent = std::time::Instant::now();
        while !self.waiting(ladder.first.pid).await?.contains(&pid) {
            if taken.is_finished() || sent.elapsed() > ARRIVAL_MAX {
                return Err("a gate could not be set behind a waiting call".to_owned());
            }
            tokio::time::sleep(LOOK_MIN).await;
        }
        ladder.seen.insert(pid);
        ladder.pids.push(pid);
        ladder.later.push(taken);
        Ok(())
    }

    /// Opens the gates one after the other: each only when the next one has its lock, which it gets when the statements
    /// between the two are done. Answers which calls were then seen to wait again, with another statement: they are no
    /// longer in front of the calls behind them. `is_back` says of each call, by the order of their arrivals, whether it has
    /// come back.
    pub async fn open_all(
        &mut self,
        ladder: Ladder,
        is_back: impl Fn(usize) -> bool,
    ) -> Result<BTreeSet<usize>, String> {
        let Ladder { mut first, later, pids, calls, .. } = ladder;
        first.open().await?;
        self.idle.push(first);
        let mut again = BTreeSet::new();
        for (place, taken) in later.into_iter().enumerate() {
            let mut gate = taken.await.map_err(|error| format!("a gate was lost: {error}"))??;
            let behind = calls.iter().filter(|call| call.gate > place).flat_map(|call| &call.pids);
            let behind: BTreeSet<i32> = behind.chain(&pids[place + 1..]).copied().collect();
            let granted = std::time::Instant::now();
            loop {
                let left =
                    |index: &usize| calls[*index].gate == place && !calls[*index].pids.is_empty() && !is_back(*index);
                let left: Vec<usize> = (0..calls.len()).filter(left).collect();
                if left.is_empty() || granted.elapsed() > ARRIVAL_MAX {
                    break;
                }
                if self.waiting(gate.pid).await?.difference(&behind).next().is_some() {
                    again.extend(left);
                    break;
                }
                tokio::time::sleep(LOOK_MIN).await;
            }
            gate.open().await?;
            self.idle.push(gate);
        }
        Ok(again)
    }

    /// Every server process that waits for a gate, or for one that does. Looking only at who is blocked directly would
    /// miss the waiters behind waiters, and `pg_stat_activity` hides other roles' sessions.
    async fn waiting(&mut self, pid: i32) -> Result<BTreeSet<i32>, String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(WAITING.replace("$1", &pid.to_string())))
            .fetch_all(&mut self.lookout)
            .await
            .map_err(|error| format!("the lookout sees nothing: {}", plain(&error)))?;
        rows.iter().map(|row| row.try_get::<i32, _>(0).map_err(|error| plain(&error))).collect()
    }
}

/// Gates behind one another, and the server processes seen to wait at them.
pub struct Ladder {
    first: Gate,
    later: Vec<JoinHandle<Result<Gate, String>>>,
    lock: String,
    seen: BTreeSet<i32>,
    /// Of the later gates.
    pids: Vec<i32>,
    calls: Vec<Waiter>,
}

/// A call at the gates: how many gates were set behind the first when it came, and the server processes that wait for it.
struct Waiter {
    gate: usize,
    pids: BTreeSet<i32>,
}

// A vacuum that waits is nobody's call.
const WAITING: &str = "
with recursive waiting as materialized (
    select distinct locks.pid, blockers.pid as blocker
    from pg_locks as locks
    cross join lateral unnest(pg_blocking_pids(locks.pid)) as blockers (pid)
    where not locks.granted
    and locks.mode <> 'ShareUpdateExclusiveLock'
),
queued (pid) as (
    select pid
    from waiting
    where blocker = $1
    union
    select waiting.pid
    from waiting
    join queued on waiting.blocker = queued.pid
)
select pid
from queued";

async fn connect(database_url: &str) -> Result<PgConnection, String> {
    let options: PgConnectOptions =
        database_url.parse().map_err(|_| "the database URL is not a PostgreSQL URL".to_owned())?;
    if options.get_port() == 6543 {
        return Err("port 6543 is a transaction pooler's: a gate needs a session, on the primary itself".to_owned());
    }
    PgConnection::connect_with(&options.statement_cache_capacity(0))
        .await
        .map_err(|error| format!("the database cannot be reached: {}", plain(&error)))
}

async fn execute(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(|error| plain(&error))
}

async fn number(connection: &mut PgConnection, sql: &str) -> Result<i32, String> {
    let row =
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.map_err(|error| plain(&error))?;
    row.try_get::<i32, _>(0).map_err(|error| plain(&error))
}
