//! Latencies in an HdrHistogram, and their correction for coordinated omission: while a closed loop waits for one slow
//! answer it does not ask again, so the calls that would have been slow too are missing from what it saw.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Anything slower is recorded as this.
const SLOWEST: Duration = Duration::from_secs(600);

/// How long calls took, to three digits.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

/// What is told of a distribution, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are their own names")]
pub struct Quantiles {
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Latency {
    /// Nothing yet.
    pub fn new() -> Result<Self, String> {
        let nanoseconds = u64::try_from(SLOWEST.as_nanos()).unwrap_or(u64::MAX);
        Histogram::new_with_bounds(1_000, nanoseconds, 3).map(Latency).map_err(|error| error.to_string())
    }

    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The same, with the calls added that each connection would have made meanwhile, had it kept its pace of one call
    /// an `interval`: a call that took three of them stands for two more, of two intervals and of one.
    pub fn corrected(&self, interval: Duration) -> Self {
        let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Latency(self.0.clone_correct(nanoseconds.max(1)))
    }

    /// What is told of it.
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        Quantiles {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max() as f64 / 1_000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 99 calls of 1 ms and one of 101 ms: one connection that asked every millisecond would have made 100 more calls.
    #[test]
    fn a_stall_hides_behind_a_closed_loop_until_it_is_corrected() -> Result<(), String> {
        let mut latency = Latency::new()?;
        (0..99).for_each(|_| latency.record(Duration::from_millis(1)));
        latency.record(Duration::from_millis(101));
        assert!(latency.quantiles().p90_us < 1_010.0);

        let corrected = latency.corrected(Duration::from_millis(1));
        assert_eq!(corrected.count(), 200);
        let quantiles = corrected.quantiles();
        assert!((79_000.0..82_500.0).contains(&quantiles.p90_us), "{quantiles:?}");
        assert!((100_900.0..101_200.0).contains(&quantiles.max_us), "{quantiles:?}");
        Ok(())
    }
}
