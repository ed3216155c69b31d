//! What a mutant is put through: its scenario over HTTP alone, and again with the database, and its schedule; and what the
//! clean service is put through before it: every scenario.

use std::time::{Duration, Instant};

use url::Url;

use stockhold_harness::internal::{
    check::Verdict,
    database::Tables,
    drive::{
        Explorer, Options, RaceResult, SCENARIOS, Scenario, ScenarioResult, Schedule, Silent, Watcher, find,
        race as race_scenarios,
    },
    history::Recorder,
    target::{Dialect, Keys, Target},
};

use super::{
    Habit, Mutant,
    deployment::{Deployment, Grounds},
};

/// A mutant that is not found by then is not going to be.
const RACE_TIME_MAX: Duration = Duration::from_secs(40);
const CALL_TIME_MAX: Duration = Duration::from_secs(10);
/// After a fault on purpose, the service needs a fraction of it.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(3);
const ALONE_ROUNDS: u32 = 3;
/// The layer that a schedule is.
const SCHEDULE: &str = "schedule";

/// What came of one scenario on one mutant.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Which scenario.
    pub scenario: &'static str,
    /// What it concluded.
    pub verdict: Verdict,
    /// The layers that found something, in the first broken round.
    pub layers: Vec<String>,
    /// The first violation, or why it is undecided.
    pub why: String,
}

/// What came of one mutant.
pub struct Trial {
    /// Which.
    pub mutant: &'static Mutant,
    /// Its scenario over HTTP alone, where callers can see the fault.
    pub over_http: Option<Cell>,
    /// Its scenario, or every scenario, with the database.
    pub with_database: Vec<Cell>,
    /// Its schedule behind gates, where its row has one.
    pub behind_gates: Option<Cell>,
    /// How long it took, with its start.
    pub took: Duration,
    /// Why it could not be tried.
    pub failure: Option<String>,
}

impl Trial {
    /// What is wrong with the table or the instrument, if anything.
    pub fn complaint(&self) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let named = |cell: &&Cell| cell.scenario == self.mutant.scenario;
        let with_database = self.with_database.iter().find(named);
        let cells = [
            (self.mutant.over_http, self.over_http.as_ref(), "over HTTP alone"),
            (self.mutant.with_database, with_database, "with the database"),
        ];
        let raced = cells.into_iter().filter(|(layers, ..)| !layers.is_empty()).find_map(|(layers, cell, how)| {
            let Some(cell) = cell else { return Some(format!("{how}, {} was not raced", self.mutant.scenario)) };
            cell.complaint(layers).map(|what| format!("{how}, {what}"))
        });
        raced.or_else(|| match (self.mutant.schedule, &self.behind_gates) {
            (Some(schedule), None) => Some(format!("behind gates, `{schedule}` was not played")),
            (_, cell) => cell.as_ref()?.complaint(&[SCHEDULE]).map(|what| format!("behind gates, {what}")),
        })
    }
}

impl Cell {
    fn complaint(&self, layers: &[&str]) -> Option<String> {
        let Cell { scenario, why, .. } = self;
        match self.verdict {
            Verdict::Held => Some(format!("{scenario} held: the mutant survived")),
            Verdict::Undecided => Some(format!("{scenario} is undecided: {why}")),
            Verdict::Broken if self.layers.iter().any(|found| layers.contains(&found.as_str())) => None,
            Verdict::Broken => Some(format!(
                "{scenario} was broken by {}, not by {}: {why}",
                self.layers.join(", "),
                layers.join(" or ")
            )),
        }
    }
}

/// Tries one mutant. `everything`: with every scenario, not only the one that must find it.
pub async fn try_mutant(grounds: &Grounds, mutant: &'static Mutant, everything: bool, seed: u64) -> Trial {
    let began = Instant::now();
    let mut trial = Trial {
        mutant,
        over_http: None,
        with_database: Vec::new(),
        behind_gates: None,
        took: Duration::ZERO,
        failure: None,
    };
    let done = async {
        let deployment = grounds.start(mutant).await?;
        let raced = race_mutant(&deployment, &mut trial, everything, seed).await;
        let stopped = grounds.stop(deployment).await;
        raced.and(stopped)
    };
    trial.failure = done.await.err();
    trial.took = began.elapsed();
    trial
}

async fn race_mutant(deployment: &Deployment, trial: &mut Trial, everything: bool, seed: u64) -> Result<(), String> {
    let mutant = trial.mutant;
    if mutant.habit == Habit::Mutex {
        holds_alone(deployment, seed).await?;
    }
    let named = find(mutant.scenario).ok_or_else(|| format!("no scenario is called {}", mutant.scenario))?;
    if !mutant.over_http.is_empty() {
        trial.over_http = Some(cell(deployment, named, false, seed).await?);
    }
    let others = SCENARIOS.iter().filter(|scenario| everything && scenario.name != named.name);
    // A service that did not recover is not there for another race.
    let again = Some(named).filter(|_| !mutant.with_database.is_empty());
    for scenario in again.into_iter().chain(others) {
        trial.with_database.push(cell(deployment, scenario, true, seed).await?);
    }
    if let Some(schedule) = mutant.schedule {
        trial.behind_gates = Some(gated(deployment, schedule, seed).await?);
    }
    deployment.plant.rewriter.failure().map_or(Ok(()), Err)
}

/// One schedule, whatever layer finds the fault there.
async fn gated(deployment: &Deployment, schedule: &'static str, seed: u64) -> Result<Cell, String> {
    let (target, options) = stage(deployment, &deployment.urls, true, seed)?;
    let explorer = Explorer::stage(&target, &options, Tables::default()).await?;
    let explored =
        explorer.explore(&[Schedule::parse(schedule)?], &mut Nobody).await.map_err(|halt| format!("{halt:?}"))?;
    let failure = explored.failure.as_ref();
    let why = failure.map_or_else(|| explored.undecided.iter().cloned().collect(), |failure| failure.what.clone());
    let layers = failure.map(|_| SCHEDULE.to_owned()).into_iter().collect();
    Ok(Cell { scenario: schedule, verdict: explored.verdict(), layers, why })
}

/// Nobody watches one schedule.
struct Nobody;

impl Watcher for Nobody {
    fn played(&mut self, _: usize, _: usize) {}
}

/// A mutex in memory is a fault only where a second process is: one alone must hold, or another fault was planted.
async fn holds_alone(deployment: &Deployment, seed: u64) -> Result<(), String> {
    let burst: Vec<_> = find("burst").into_iter().collect();
    let result = race(deployment, &deployment.urls[..1], &burst, Some(ALONE_ROUNDS), true, seed).await?;
    match result.scenarios.first().map(|row| (row.verdict, why(row, None))) {
        Some((Verdict::Held, _)) => Ok(()),
        Some((_, why)) => Err(format!("one process alone does not hold: {why}")),
        None => Err("nothing was raced".to_owned()),
    }
}

async fn cell(
    deployment: &Deployment,
    scenario: &'static Scenario,
    with_database: bool,
    seed: u64,
) -> Result<Cell, String> {
    let raced =
        tokio::time::timeout(RACE_TIME_MAX, race(deployment, &deployment.urls, &[scenario], None, with_database, seed))
            .await;
    let Ok(raced) = raced else {
        let why = format!("it did not end within {} s", RACE_TIME_MAX.as_secs());
        return Ok(Cell { scenario: scenario.name, verdict: Verdict::Undecided, layers: Vec::new(), why });
    };
    let result = raced?;
    let stopped = result.stopped.map(|stopped| stopped.why);
    let row = result.scenarios.into_iter().next().ok_or("nothing was raced")?;
    Ok(Cell {
        scenario: scenario.name,
        verdict: row.verdict,
        why: why(&row, stopped),
        layers: row.layers.iter().map(ToString::to_string).collect(),
    })
}

fn why(row: &ScenarioResult, stopped: Option<String>) -> String {
    let failure = row.failure.as_ref().map(|failure| failure.what.clone());
    failure.or(stopped).unwrap_or_else(|| row.undecided.join("; "))
}

async fn race(
    deployment: &Deployment,
    urls: &[Url],
    scenarios: &[&'static Scenario],
    rounds: Option<u32>,
    with_database: bool,
    seed: u64,
) -> Result<RaceResult, String> {
    let (target, options) = stage(deployment, urls, with_database, seed)?;
    race_scenarios(&target, scenarios, &Options { rounds, ..options }, &mut Silent).await
}

fn stage(deployment: &Deployment, urls: &[Url], with_database: bool, seed: u64) -> Result<(Target, Options), String> {
    let recorder = Recorder::start(None).map_err(|error| error.to_string())?;
    // Our contract's own words: a probe would only find them again.
    let mut dialect = Dialect::default();
    (dialect.behaviour.item_idempotency_key, dialect.behaviour.late_confirm_reacquires) = (true, true);
    let target = Target::new(urls, dialect, Keys::default(), CALL_TIME_MAX, recorder)?;
    let database_url = with_database.then(|| deployment.database_url.clone());
    let (fleet, recovery) = (deployment.fleet.clone(), RECOVERY_TIME_MAX);
    Ok((target, Options { database_url, fleet, recovery, ..Options::new(seed, run_id()) }))
}

/// A run's id, which is part of its keys: two races of one deployment share none.
fn run_id() -> String {
    format!("{:08x}", uuid::Uuid::now_v7().as_u128() & 0xffff_ffff)
}

/// Races the clean service through the same wires, so many times in a row, and says what was wrong: a false alarm.
pub async fn try_clean(
    grounds: &Grounds,
    clean: &Mutant,
    runs: u32,
    rounds: Option<u32>,
    seed: u64,
    mut told: impl FnMut(u32, Duration),
) -> Result<Option<String>, String> {
    let deployment = grounds.start(clean).await?;
    let scenarios: Vec<_> = SCENARIOS.iter().collect();
    let mut complaint = None;
    for run in 1..=runs {
        let began = Instant::now();
        let result =
            race(&deployment, &deployment.urls, &scenarios, rounds, true, seed.wrapping_add(u64::from(run) - 1))
                .await?;
        told(run, began.elapsed());
        if result.verdict != Verdict::Held {
            let stopped = result.stopped.map(|stopped| stopped.why);
            let row = result.scenarios.iter().find(|row| row.verdict != Verdict::Held);
            complaint = row.map(|row| {
                format!("run {run}: {} is {}: {}", row.scenario, row.verdict.word(), why(row, stopped.clone()))
            });
            break;
        }
    }
    grounds.stop(deployment).await?;
    Ok(complaint)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MUTANT: &Mutant = &Mutant {
        name: "test",
        scenario: "burst",
        over_http: &["occupancy"],
        with_database: &["books"],
        ..Mutant::PLAIN
    };

    fn cell(verdict: Verdict, layer: &str) -> Cell {
        Cell { scenario: "burst", verdict, layers: vec![layer.to_owned()], why: "because".to_owned() }
    }

    fn complaint(over_http: Option<Cell>, with_database: Option<Cell>) -> Option<String> {
        let with_database = with_database.into_iter().collect();
        trial(MUTANT, over_http, with_database).complaint()
    }

    fn trial(mutant: &'static Mutant, over_http: Option<Cell>, with_database: Vec<Cell>) -> Trial {
        Trial { mutant, over_http, with_database, behind_gates: None, took: Duration::ZERO, failure: None }
    }

    #[test]
    fn a_schedule_of_the_row_must_turn_red_too() {
        const GATED: &Mutant =
            &Mutant { over_http: &[], with_database: &[], schedule: Some("items 1: reserve1"), ..Mutant::PLAIN };
        let mut trial = trial(GATED, None, Vec::new());
        assert!(trial.complaint().is_some_and(|told| told.contains("was not played")));
        trial.behind_gates = Some(cell(Verdict::Held, ""));
        assert!(trial.complaint().is_some_and(|told| told.contains("the mutant survived")));
        trial.behind_gates = Some(cell(Verdict::Broken, SCHEDULE));
        assert_eq!(trial.complaint(), None);
    }

    #[test]
    fn a_mutant_found_by_the_layers_of_its_row_is_caught() {
        assert_eq!(complaint(Some(cell(Verdict::Broken, "occupancy")), Some(cell(Verdict::Broken, "books"))), None);
    }

    #[rstest]
    #[case::survived(Some(cell(Verdict::Held, "")), "the mutant survived")]
    #[case::undecided(Some(cell(Verdict::Undecided, "")), "burst is undecided: because")]
    #[case::another_layer(Some(cell(Verdict::Broken, "ledger")), "broken by ledger, not by books")]
    #[case::another_scenario(Some(Cell { scenario: "limits", ..cell(Verdict::Broken, "books") }), "was not raced")]
    #[case::not_raced(None, "was not raced")]
    fn anything_else_escaped(#[case] with_database: Option<Cell>, #[case] expected: &str) {
        let told = complaint(Some(cell(Verdict::Broken, "occupancy")), with_database).unwrap_or_default();
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn what_callers_can_see_must_be_found_without_the_database_too() {
        let told = complaint(Some(cell(Verdict::Held, "")), Some(cell(Verdict::Broken, "books")));
        assert_eq!(told.as_deref(), Some("over HTTP alone, burst held: the mutant survived"));
    }
}
