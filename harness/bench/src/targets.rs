//! The targets: ratios of two measurements of the same run, because absolute figures are the machine's.

use serde::Serialize;

use crate::figures::{Figures, Point, Setup};

/// One target and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// What is compared.
    pub what: &'static str,
    /// With what.
    pub against: &'static str,
    /// The bound, in words.
    pub bound: &'static str,
    /// The ratio, or the value; absent when a part of it was not measured.
    pub value: Option<f64>,
    /// Whether the bound is kept.
    pub met: Option<bool>,
    /// The measurements behind it.
    pub detail: String,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Two measurements as they are told.
struct Ratio {
    value: f64,
    detail: String,
}

/// Every target.
pub fn targets(figures: &Figures) -> Vec<Target> {
    let hot = |setup, connections| figures.find("hot", setup, connections);
    let one = Setup::OneProcess;
    let best_bare =
        figures.closed("bare_update", Setup::Database).max_by(|one, other| one.per_second.total_cmp(&other.per_second));
    let bare = figures.find("bare_update", Setup::Database, 200);
    let uniform = figures.find("uniform", one, 64);
    let lone_reserve = figures.lone_call.as_ref().map(|lone| Ratio {
        value: lone.on.p50_us / lone.baseline.p50_us.max(1.0),
        detail: format!("p50 {:.0} µs / {:.0} µs", lone.on.p50_us, lone.baseline.p50_us),
    });
    let lone = figures.lone_call.as_ref().map(|lone| Ratio {
        value: lone.ratio,
        detail: format!(
            "p50 {:.0} µs / {:.0} µs, {} calls each; 95 % of resamples between {:.3} and {:.3}",
            lone.on.p50_us, lone.off.p50_us, lone.calls, lone.interval.0, lone.interval.1
        ),
    });
    let start = figures.starts.iter().find(|starts| !starts.with_database).map(|starts| Ratio {
        value: starts.median_ms,
        detail: format!("median of {} starts of `{}`", starts.count, starts.program),
    });
    let mut targets = vec![
        target(
            "library, hot item, 200 callers",
            "bare hot-row update, best client count",
            "4 x or more",
            Bound::AtLeast(4.0),
            ratio(hot(Setup::Library, 200), best_bare),
        ),
        target(
            "HTTP, hot item, 200 connections",
            "bare hot-row update, 200 clients",
            "14 x or more",
            Bound::AtLeast(14.0),
            ratio(hot(one, 200), bare),
        ),
        target(
            "8 functions, one connection each, hot item",
            "bare hot-row update, 8 clients",
            "0.5 x or more",
            Bound::AtLeast(0.5),
            ratio(hot(Setup::Functions, 8), figures.find("bare_update", Setup::Database, 8)),
        ),
        target(
            "HTTP, hot item, 200 connections",
            "Express + node-postgres, transaction per request",
            "25 x or more",
            Bound::AtLeast(25.0),
            ratio(hot(one, 200), hot(Setup::Express, 200)),
        ),
        target(
            "HTTP, sold-out refusals, 64 connections",
            "a static route of the same server",
            "0.55 x or more",
            Bound::AtLeast(0.55),
            ratio(figures.find("sold_out", one, 64), figures.find("static", one, 64)),
        ),
        target(
            "HTTP, 1,000 items uniform, 64 connections",
            "one-statement reserve, 64 clients",
            "0.8 x or more",
            Bound::AtLeast(0.8),
            ratio(uniform, figures.find("one_statement_1000", Setup::Database, 64)),
        ),
        target(
            "the service's processor time, 1,000 items uniform, 64 connections",
            "",
            "60 µs or less",
            Bound::AtMost(60.0),
            uniform.and_then(|point| point.processor).map(|shares| Ratio {
                value: shares.services_us_per_call,
                detail: format!("and {:.0} µs of the database's", shares.rest_us_per_call),
            }),
        ),
        target(
            "hot item, 5 ms to the database, 64 connections",
            "interactive transaction, same delay",
            "50 x or more",
            Bound::AtLeast(50.0),
            ratio(hot(Setup::FarAway, 64), figures.find("transaction", Setup::DatabaseFarAway, 64)),
        ),
        target(
            "a lone reserve over HTTP, p50",
            "one-statement reserve, p50",
            "1.25 x or less",
            Bound::AtMost(1.25),
            lone_reserve,
        ),
        target("a lone call, coalescing on", "coalescing off", "1.02 x or less", Bound::AtMost(1.02), lone),
        target(
            "function binary, start to first answer",
            "without the database",
            "50 ms or less",
            Bound::AtMost(50.0),
            start,
        ),
    ];
    if let Some(sweep) = &figures.sweep {
        let p99 = Ratio {
            value: sweep.meanwhile.p99_us / sweep.quiet.p99_us.max(1.0),
            detail: format!(
                "p99 {:.1} ms / {:.1} ms at {:.0} calls/s",
                sweep.meanwhile.p99_us / 1_000.0,
                sweep.quiet.p99_us / 1_000.0,
                sweep.rate
            ),
        };
        let lock = Ratio {
            value: sweep.lock_wait.max_us / 1_000.0,
            detail: format!(
                "the longest of {} waits for a row that is being swept; the longest call of the sweep took \
                 {:.0} ms",
                sweep.lock_wait_count,
                sweep.call.max_us / 1_000.0
            ),
        };
        targets.push(target(
            "reserve p99 during a sweep",
            "the quiet run",
            "2 x or less",
            Bound::AtMost(2.0),
            Some(p99),
        ));
        targets.push(target("an item's lock, held by a sweep", "", "100 ms or less", Bound::AtMost(100.0), Some(lock)));
    }
    targets
}

fn target(
    what: &'static str,
    against: &'static str,
    bound: &'static str,
    limit: Bound,
    ratio: Option<Ratio>,
) -> Target {
    let met = |value: f64| match limit {
        Bound::AtLeast(least) => value >= least,
        Bound::AtMost(most) => value <= most,
    };
    Target {
        what,
        against,
        bound,
        value: ratio.as_ref().map(|ratio| ratio.value),
        met: ratio.as_ref().map(|ratio| met(ratio.value)),
        detail: ratio.map_or_else(|| "not measured".to_owned(), |ratio| ratio.detail),
    }
}

/// A ratio of two throughputs; none of a measurement that failed, or made no call.
fn ratio(subject: Option<&Point>, against: Option<&Point>) -> Option<Ratio> {
    let (subject, against) = (subject?, against?);
    if subject.errors + against.errors > 0 || against.calls == 0 {
        return None;
    }
    let told = |point: &Point| format!("{:.0}/s", point.per_second);
    Some(Ratio {
        value: subject.per_second / against.per_second,
        detail: format!("{} / {} ({} clients)", told(subject), told(against), against.connections),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{figures::LoneCall, latency::Quantiles};

    fn point(series: &str, setup: Setup, connections: u32, per_second: f64) -> Point {
        Point {
            series: series.to_owned(),
            setup,
            old_reservations: 0,
            connections,
            rate: None,
            calls: per_second as u64,
            errors: 0,
            seconds: 1.0,
            per_second,
            latency: Quantiles::default(),
            corrected: Quantiles::default(),
            processor: None,
            batches: None,
        }
    }

    fn figures(points: Vec<Point>) -> Figures {
        Figures {
            format: 1,
            began: String::new(),
            took_seconds: 0.0,
            about: BTreeMap::new(),
            command: String::new(),
            seed: 1,
            points,
            lone_call: None,
            starts: Vec::new(),
            sweep: None,
            targets: Vec::new(),
            failures: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn found(figures: &Figures, against: &str) -> (Option<f64>, Option<bool>) {
        let found = targets(figures).into_iter().find(|target| target.against == against);
        found.map_or((None, None), |target| (target.value, target.met))
    }

    const BEST: &str = "bare hot-row update, best client count";
    const SAME_CLIENTS: &str = "bare hot-row update, 200 clients";

    #[test]
    fn a_ratio_is_taken_of_the_points_it_names() {
        let figures = figures(vec![
            point("bare_update", Setup::Database, 2, 3_000.0),
            point("bare_update", Setup::Database, 200, 500.0),
            point("hot", Setup::OneProcess, 16, 6_000.0),
            point("hot", Setup::OneProcess, 200, 5_999.0),
            point("hot", Setup::Library, 200, 12_000.0),
            point("hot", Setup::TwoProcesses, 200, 90_000.0),
        ]);
        assert_eq!(found(&figures, BEST), (Some(4.0), Some(true)));
        assert_eq!(found(&figures, SAME_CLIENTS), (Some(5_999.0 / 500.0), Some(false)));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_short() {
        let mut failed = point("hot", Setup::OneProcess, 200, 50_000.0);
        failed.errors = 1;
        let open = Point { rate: Some(9.0), ..point("bare_update", Setup::Database, 200, 1.0) };
        let old = Point { old_reservations: 1, ..point("bare_update", Setup::Database, 200, 1.0) };
        assert_eq!(
            found(&figures(vec![failed.clone(), point("bare_update", Setup::Database, 200, 1.0)]), SAME_CLIENTS),
            (None, None)
        );
        let fine = Point { errors: 0, ..failed };
        assert_eq!(found(&figures(vec![fine, open, old]), SAME_CLIENTS), (None, None));
    }

    #[test]
    fn a_latency_may_not_exceed_its_bound() {
        let quantiles = Quantiles { p50_us: 100.0, ..Quantiles::default() };
        let lone = |ratio| {
            Some(LoneCall { calls: 9, on: quantiles, off: quantiles, baseline: quantiles, ratio, interval: (0.9, 1.1) })
        };
        let met = |ratio| found(&Figures { lone_call: lone(ratio), ..figures(Vec::new()) }, "coalescing off").1;
        assert_eq!((met(1.02), met(1.03)), (Some(true), Some(false)));
    }
}
