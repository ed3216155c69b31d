//! How long the calls of a run took, by verb: every one of them is kept, so the quantiles are exact.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::history::Call;

/// Answered calls, by verb. Those without an answer are left out: how long they took is not known.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    took_us: BTreeMap<&'static str, Vec<u32>>,
}

/// One verb's calls. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many were answered.
    pub calls: usize,
    /// Half of them took no longer.
    pub p50_us: u32,
    /// Nine of ten took no longer.
    pub p90_us: u32,
    /// 99 of 100 took no longer.
    pub p99_us: u32,
    /// The longest.
    pub max_us: u32,
}

impl Latencies {
    /// Adds a call, from its invocation to the head of its answer.
    pub fn note(&mut self, call: &Call) {
        let Some(returned_ns) = call.returned_ns.filter(|_| call.status.is_some()) else { return };
        let took_us = returned_ns.saturating_sub(call.invoked_ns) / 1_000;
        self.took_us.entry(call.request.verb()).or_default().push(u32::try_from(took_us).unwrap_or(u32::MAX));
    }

    /// Each verb's quantiles, by the nearest rank.
    pub fn quantiles(&self) -> BTreeMap<&'static str, Quantiles> {
        let of = |(verb, took_us): (&&'static str, &Vec<u32>)| {
            let mut sorted = took_us.clone();
            sorted.sort_unstable();
            let rank = |percent: usize| {
                let rank = (sorted.len() * percent).div_ceil(100);
                sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
            };
            let (p50_us, p90_us, p99_us, max_us) = (rank(50), rank(90), rank(99), rank(100));
            (*verb, Quantiles { calls: sorted.len(), p50_us, p90_us, p99_us, max_us })
        };
        self.took_us.iter().map(of).collect()
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.quantiles().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_calls_that_were_made_by_nearest_rank() {
        let took_us = (1..=200).rev().collect();
        let latencies = Latencies { took_us: BTreeMap::from([("reserve", took_us), ("cancel", vec![7])]) };
        let quantiles = latencies.quantiles();
        assert_eq!(quantiles["reserve"], Quantiles { calls: 200, p50_us: 100, p90_us: 180, p99_us: 198, max_us: 200 });
        assert_eq!(quantiles["cancel"], Quantiles { calls: 1, p50_us: 7, p90_us: 7, p99_us: 7, max_us: 7 });
    }
}
