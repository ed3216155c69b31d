//! What a lone call costs: one connection to a service with coalescing, one to a service without, and one to the database
//! for the least that a reservation writes, called in turn, so that a slow moment of the machine slows all three.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    baseline::DatabaseCaller,
    calls::{HttpCaller, Script},
    figures::LoneCall,
    latency::Latency,
    load::Caller,
    stock::Stock,
};
use stockhold_harness::internal::{history::Seed, target::Origin};

/// Resamples of the bootstrap (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).
const RESAMPLE_COUNT: usize = 1_000;

/// Calls all three in turn for a while.
pub async fn measure(
    on: (Arc<Origin>, Arc<Stock>),
    off: (Arc<Origin>, Arc<Stock>),
    mut baseline: DatabaseCaller,
    warm_up: Duration,
    measured: Duration,
    mut seed: Seed,
) -> Result<LoneCall, String> {
    let caller = |(origin, stock), number| HttpCaller::new(origin, Script::Reserve, stock, Seed::new(number));
    let mut callers = [caller(on, 0), caller(off, 1)];
    let alternate = async move {
        for caller in &mut callers {
            caller.connect().await?;
        }
        baseline.connect().await?;
        let mut samples = [Vec::new(), Vec::new(), Vec::new()];
        let begin = Instant::now() + warm_up;
        let end = begin + measured;
        while Instant::now() < end {
            // Either goes first as often as the other.
            let first = seed.below(2) as usize;
            for index in [first, 1 - first, 2] {
                let asked = Instant::now();
                match callers.get_mut(index) {
                    Some(caller) => caller.call().await?,
                    None => baseline.call().await?,
                }
                if asked >= begin {
                    samples[index].push(asked.elapsed());
                }
            }
        }
        Ok::<_, String>((samples, seed))
    };
    let on_thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(alternate)
    };
    let (samples, mut seed) = tokio::task::spawn_blocking(on_thread).await.map_err(|error| error.to_string())??;
    let mut quantiles = [Latency::new()?, Latency::new()?, Latency::new()?];
    for (latency, samples) in quantiles.iter_mut().zip(&samples) {
        samples.iter().for_each(|sample| latency.record(*sample));
    }
    let [on, off, baseline] = quantiles.map(|latency| latency.quantiles());
    let [on_samples, off_samples, _] = samples;
    let nanoseconds =
        [on_samples, off_samples].map(|samples| samples.iter().map(Duration::as_nanos).collect::<Vec<_>>());
    let (ratio, interval) = compare(&nanoseconds, &mut seed);
    Ok(LoneCall { calls: nanoseconds[1].len(), on, off, baseline, ratio, interval })
}

/// The ratio of the medians, and where 95 % of it lies when the samples are drawn again and again from themselves.
fn compare(samples: &[Vec<u128>; 2], seed: &mut Seed) -> (f64, (f64, f64)) {
    let ratio = |[one, other]: [f64; 2]| one / other.max(1.0);
    let found = ratio([median(&mut samples[0].clone()), median(&mut samples[1].clone())]);
    let mut ratios: Vec<f64> = (0..RESAMPLE_COUNT)
        .map(|_| {
            let mut again = |samples: &[u128]| {
                let mut drawn: Vec<u128> = (0..samples.len())
                    .filter_map(|_| samples.get(seed.below(samples.len() as u64) as usize).copied())
                    .collect();
                median(&mut drawn)
            };
            ratio([again(&samples[0]), again(&samples[1])])
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    (found, (ratios[RESAMPLE_COUNT / 40], ratios[RESAMPLE_COUNT - 1 - RESAMPLE_COUNT / 40]))
}

fn median(samples: &mut [u128]) -> f64 {
    let middle = samples.len() / 2;
    if samples.is_empty() { 0.0 } else { *samples.select_nth_unstable(middle).1 as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(center: u128, seed: &mut Seed) -> Vec<u128> {
        (0..2_000).map(|_| center + u128::from(seed.below(200_000))).collect()
    }

    #[test]
    fn a_difference_of_five_percent_is_told_from_noise() {
        let mut seed = Seed::new(5);
        let base = noisy(900_000, &mut seed);
        let slower = noisy(950_000, &mut seed);
        let (ratio, (low, high)) = compare(&[slower, base.clone()], &mut seed);
        assert!((1.04..1.06).contains(&ratio) && low > 1.02 && high < 1.08, "{ratio} {low} {high}");
        let same = noisy(900_000, &mut seed);
        let (_, (low, high)) = compare(&[same, base], &mut seed);
        assert!(low < 1.0 + 0.01 && high > 1.0 - 0.01 && high - low < 0.04, "{low} {high}");
    }
}
