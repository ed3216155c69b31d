//! What a benchmark found, as it is written to `bench.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{latency::Quantiles, processor::Shares, stock::Batches, targets::Target};

/// Where the load went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setup {
    /// Straight to the database.
    Database,
    /// Straight to the database, behind the delay.
    DatabaseFarAway,
    /// To the Express service.
    Express,
    /// Through the library, inside one process.
    Library,
    /// To one service process.
    OneProcess,
    /// To two service processes on one database.
    TwoProcesses,
    /// To processes with one connection each and without coalescing, as serverless functions are.
    Functions,
    /// To one service process whose database is behind the delay.
    FarAway,
}

impl Setup {
    /// In words.
    pub fn told(self) -> &'static str {
        match self {
            Setup::Database => "database alone",
            Setup::DatabaseFarAway => "database alone, far away",
            Setup::Express => "Express",
            Setup::Library => "library",
            Setup::OneProcess => "one process",
            Setup::TwoProcesses => "two processes",
            Setup::Functions => "functions",
            Setup::FarAway => "one process, database far away",
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// What was called.
    pub series: String,
    /// Where.
    pub setup: Setup,
    /// Old reservations in the tables, beyond what this benchmark made.
    pub old_reservations: u64,
    /// How many callers, each with a connection of its own.
    pub connections: u32,
    /// Calls that fell due in a second; absent in a closed loop.
    pub rate: Option<f64>,
    /// Calls answered as expected within the time.
    pub calls: u64,
    /// Calls answered otherwise, or not at all.
    pub errors: u64,
    /// The time.
    pub seconds: f64,
    /// Calls a second.
    pub per_second: f64,
    /// As the callers saw it; in an open loop from the instant a call fell due.
    pub latency: Quantiles,
    /// Corrected for coordinated omission.
    pub corrected: Quantiles,
    /// Who used the processor.
    pub processor: Option<Shares>,
    /// How many reservations each statement made, where it is one item's.
    pub batches: Option<Batches>,
}

/// Many starts of one program, in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are their own names")]
pub struct Starts {
    pub program: String,
    pub path: String,
    pub with_database: bool,
    pub size_bytes: u64,
    pub count: usize,
    pub fastest_ms: f64,
    pub median_ms: f64,
    pub slowest_ms: f64,
}

/// A lone call with coalescing, without, and the least that a reservation writes, in turn.
#[derive(Clone, Debug, Serialize)]
pub struct LoneCall {
    /// Calls of each kind.
    pub calls: usize,
    /// With coalescing.
    pub on: Quantiles,
    /// Without.
    pub off: Quantiles,
    /// The least that a reservation writes, straight to the database.
    pub baseline: Quantiles,
    /// The ratio of the medians, on against off.
    pub ratio: f64,
    /// Where that ratio lies with 95 % confidence.
    pub interval: (f64, f64),
}

/// Reservations of other items while a sweep works off lapsed holds.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are their own names")]
pub struct Sweep {
    pub lapsed_holds: u64,
    pub expired_count: u64,
    pub seconds: f64,
    pub expired_per_second: f64,
    pub rate: f64,
    pub quiet: Quantiles,
    pub meanwhile: Quantiles,
    /// Whether the sweep lasted as long as the reservations did.
    pub covered: bool,
    /// How long one call of the sweep took.
    pub call: Quantiles,
    /// How long somebody else waited for the row of an item that is being swept.
    pub lock_wait: Quantiles,
    pub lock_wait_count: u64,
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Its own format.
    pub format: u32,
    /// When it began, RFC 3339.
    pub began: String,
    /// How long it took.
    pub took_seconds: f64,
    /// Machine, versions, settings.
    pub about: BTreeMap<String, String>,
    /// The command line.
    pub command: String,
    /// Where every choice came from.
    pub seed: u64,
    /// Every measurement, in the order they were made.
    pub points: Vec<Point>,
    /// A lone call.
    pub lone_call: Option<LoneCall>,
    /// Cold starts.
    pub starts: Vec<Starts>,
    /// The sweep.
    pub sweep: Option<Sweep>,
    /// The targets.
    pub targets: Vec<Target>,
    /// What was not as it must be; the run failed unless this is empty.
    pub failures: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Figures {
    /// The closed-loop measurement of a series with so many connections and no old reservations.
    pub fn find<'a>(&'a self, series: &'a str, setup: Setup, connections: u32) -> Option<&'a Point> {
        self.closed(series, setup).find(|point| point.connections == connections)
    }

    /// The closed-loop measurements of a series, without old reservations.
    pub fn closed<'a>(&'a self, series: &'a str, setup: Setup) -> impl Iterator<Item = &'a Point> {
        self.points.iter().filter(move |point| {
            point.series == series && point.setup == setup && point.rate.is_none() && point.old_reservations == 0
        })
    }
}
