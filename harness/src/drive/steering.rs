//! Where calls must leave to be decided right at a deadline: each round is aimed by the answers of the last.

/// A little more than what one call takes on a quick service.
const SPREAD_NS_MIN: i64 = 2_000_000;
/// Half of the longest queue that is still worth aiming through.
const SPREAD_NS_MAX: i64 = 60_000_000;

/// The aim of a scenario's rounds.
#[derive(Clone, Copy, Debug)]
pub struct Steering {
    /// From the deadline to the instant at which a call leaves that is as likely decided in time as too late.
    pub aim_ns: i64,
    /// Over how long the calls of a round leave, half of it before the aim.
    pub spread_ns: i64,
    /// How many times longer than wished the deadlines are, so that the stage is set before them.
    pub patience: u64,
}

impl Default for Steering {
    fn default() -> Self {
        Steering { aim_ns: -1_000_000, spread_ns: 12_000_000, patience: 1 }
    }
}

impl Steering {
    /// Learns from calls, each by when it left (after the deadline, where positive) and whether it was decided in time.
    pub fn learn(&mut self, calls: &mut [(i64, bool)]) {
        calls.sort_unstable();
        let in_time = calls.iter().filter(|(_, in_time)| *in_time).count();
        if calls.is_empty() || in_time == 0 || in_time == calls.len() {
            let way = if in_time == 0 { -1 } else { 1 };
            self.aim_ns += way * self.spread_ns / 2;
            self.spread_ns = (self.spread_ns * 3 / 2).min(SPREAD_NS_MAX);
            return;
        }
        // The cut that puts the fewest calls on the wrong side.
        let mut wrong = in_time;
        let (mut cut, mut fewest) = (0, wrong);
        for (place, (_, in_time)) in calls.iter().enumerate() {
            if *in_time {
                wrong -= 1
            } else {
                wrong += 1
            }
            if wrong < fewest {
                (cut, fewest) = (place + 1, wrong);
            }
        }
        let before = calls[cut.saturating_sub(1)].0;
        let after = calls[cut.min(calls.len() - 1)].0;
        self.aim_ns = i64::midpoint(before, after);
        let last_in_time = calls.iter().rev().find(|(_, in_time)| *in_time).map_or(before, |(at, _)| *at);
        let first_late = calls.iter().find(|(_, in_time)| !in_time).map_or(after, |(at, _)| *at);
        self.spread_ns = (2 * (last_in_time - first_late)).clamp(SPREAD_NS_MIN, SPREAD_NS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aim_closes_in_on_the_boundary() {
        for boundary in [-30_000_000, -3_000_000, 700_000, 25_000_000] {
            let mut steering = Steering::default();
            for _ in 0..14 {
                let leaves = |step: i64| steering.aim_ns - steering.spread_ns / 2 + step * steering.spread_ns / 19;
                let mut calls: Vec<(i64, bool)> = (0..20).map(|step| (leaves(step), leaves(step) < boundary)).collect();
                steering.learn(&mut calls);
            }
            assert!((steering.aim_ns - boundary).abs() < 500_000, "{boundary}: {steering:?}");
            assert_eq!(steering.spread_ns, SPREAD_NS_MIN);
        }
    }
}
