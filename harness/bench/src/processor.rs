//! Who used the processor while something was measured: this process, the services, and the rest, which is the database
//! and whatever else runs on the machine. Known on Linux only.

use serde::Serialize;

/// Ticks a second in /proc, on every Linux that Rust knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time used up to an instant, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    machine: u64,
    harness: u64,
    services: u64,
}

/// Processor time between two instants.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shares {
    /// This process: the load, and the delaying proxy where there is one.
    pub harness_seconds: f64,
    /// The services under load.
    pub services_seconds: f64,
    /// The database, and everything else on the machine.
    pub rest_seconds: f64,
    /// What one call costs this process, in microseconds.
    pub harness_us_per_call: f64,
    /// What one call costs the services.
    pub services_us_per_call: f64,
    /// What one call costs the rest.
    pub rest_us_per_call: f64,
}

impl Account {
    /// Reads it, where it can be read.
    pub fn read(services: &[u32]) -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let fields: Vec<u64> =
            stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        // user, nice, system; irq, softirq. Idle time and time stolen by other machines are nobody's here.
        let machine = [0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum();
        let harness = ticks(std::process::id())?;
        let services = services.iter().filter_map(|pid| ticks(*pid)).sum();
        Some(Account { machine, harness, services })
    }

    /// What was used from here to there.
    pub fn until(&self, later: &Account) -> Shares {
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / TICKS_PER_SECOND;
        let harness_seconds = seconds(self.harness, later.harness);
        let services_seconds = seconds(self.services, later.services);
        let machine_seconds = seconds(self.machine, later.machine);
        Shares {
            harness_seconds,
            services_seconds,
            rest_seconds: (machine_seconds - harness_seconds - services_seconds).max(0.0),
            harness_us_per_call: 0.0,
            services_us_per_call: 0.0,
            rest_us_per_call: 0.0,
        }
    }
}

impl Shares {
    /// The same, shared out to calls.
    pub fn per_call(self, calls: u64) -> Self {
        let each = |seconds: f64| seconds * 1_000_000.0 / calls.max(1) as f64;
        Shares {
            harness_us_per_call: each(self.harness_seconds),
            services_us_per_call: each(self.services_seconds),
            rest_us_per_call: each(self.rest_seconds),
            ..self
        }
    }
}

/// User and system time of one process (proc(5): fields 14 and 15, counted after the name, which may hold anything).
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}
