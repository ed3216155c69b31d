//! Plays scenarios round by round and says what came of each.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    check::verdict::{Breach, Layer, Verdict},
    database::gate::Tables,
    drive::{
        drawing::Drawing,
        explorer::{Explorer, Watcher},
        findings::{Findings, Halt},
        interrupt::Interrupt,
        latency::Latencies,
        options::Options,
        round::Round,
        scenario::Scenario,
        schedule, telling,
    },
    history::Seed,
    target::deployment::Target,
};

/// So many rounds a race may take to take place at all, however few were asked for.
const ROUNDS_MIN: u32 = 8;

/// What the table calls schedules that meet a deadline.
const DEADLINE_SCHEDULES: &str = "deadline_schedules";
/// Each is played twice and takes some fifty milliseconds.
const SCHEDULES_MAX: usize = 60;

/// So many rounds follow one in which an answer or a read was wrong, and no write.
const ROUNDS_AFTER_A_BREACH: u32 = 5;

/// So many rounds may come to nothing before their races begin.
const SPOILT_MAX: u32 = 5;

/// What is told while a race runs.
pub trait Observer {
    /// A scenario begins.
    fn begins(&mut self, scenario: &Scenario, rounds: u32);
    /// A round is over.
    fn played(&mut self, round: u32);
    /// A scenario is over.
    fn ended(&mut self, result: &ScenarioResult);
}

/// Tells nobody: for use as a library.
pub struct Silent;

impl Observer for Silent {
    fn begins(&mut self, _: &Scenario, _: u32) {}
    fn played(&mut self, _: u32) {}
    fn ended(&mut self, _: &ScenarioResult) {}
}

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioResult {
    /// Which.
    pub scenario: &'static str,
    /// Rounds played.
    pub rounds: u32,
    /// The worst of its rounds.
    pub verdict: Verdict,
    /// Answers of the races proper, counted.
    pub outcomes: std::collections::BTreeMap<String, u64>,
    /// How long it took.
    pub took_ms: u64,
    /// Bursts: the median and the widest time from the first released call to the last.
    pub spread_us: (u64, u64),
    /// Calls under way at once, at the fullest moment.
    pub overlapped: usize,
    /// Reads by the samplers: over HTTP, in SQL.
    pub samples: (usize, usize),
    /// Ledger versions audited.
    pub versions: usize,
    /// Committed states replayed from the database's log.
    pub states: usize,
    /// Reads in a crowd of other calls that were only compared with what can have been.
    pub loosely: usize,
    /// Why it is undecided, each reason once.
    pub undecided: Vec<String>,
    /// Every layer that found something, each once.
    pub layers: Vec<Layer>,
    /// What was breached, each once.
    pub breaches: Vec<Breach>,
    /// The gravest broken expectation, told.
    pub failure: Option<telling::Failure>,
    /// Whether it could not be played here.
    pub skipped: bool,
    /// Whether that leaves the verdict as it is: the scenario goes beyond the assignment, or is accepted as missing.
    pub dispensable: bool,
    /// The broken round, or else the one in which most calls were under way at once.
    #[serde(skip)]
    pub drawing: Option<Drawing>,
}

impl ScenarioResult {
    /// A scenario of which nothing was played yet.
    fn empty(scenario: &'static str) -> Self {
        ScenarioResult {
            scenario,
            rounds: 0,
            verdict: Verdict::Undecided,
            outcomes: Default::default(),
            took_ms: 0,
            spread_us: (0, 0),
            overlapped: 0,
            samples: (0, 0),
            versions: 0,
            states: 0,
            loosely: 0,
            undecided: Vec::new(),
            layers: Vec::new(),
            breaches: Vec::new(),
            failure: None,
            skipped: false,
            dispensable: false,
            drawing: None,
        }
    }
}

/// What came of a race.
#[derive(Clone, Debug, Serialize)]
pub struct RaceResult {
    /// Where every choice came from.
    pub seed: u64,
    /// Each scenario, in order.
    pub scenarios: Vec<ScenarioResult>,
    /// The worst of them; undecided if there is none.
    pub verdict: Verdict,
    /// What was different from the assignment, and allowed.
    pub departures: Vec<String>,
    /// Whether each departure counts as broken.
    pub strict: bool,
    /// Why the race was stopped, if it was.
    pub stopped: Option<Stopped>,
    /// What the harness itself could not do.
    pub internal: Option<String>,
    /// How long its calls took, by verb.
    #[serde(rename = "latency")]
    pub latencies: Latencies,
}

/// Why a race was stopped before its end.
#[derive(Clone, Debug, Serialize)]
pub struct Stopped {
    /// One sentence.
    pub why: String,
    /// Whether the target is at fault (unreachable, or wrong when nothing is raced).
    pub target: bool,
}

/// Races the scenarios against a deployment, one after the other.
pub async fn race(
    target: &Target,
    scenarios: &[&'static Scenario],
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<RaceResult, String> {
    let mut round = Round::stage(target.clone(), options).await?;
    let mut results = Vec::with_capacity(scenarios.len());
    let mut stopped = None;
    let mut latencies = Latencies::default();
    for scenario in scenarios {
        let rounds = Rounds::of(&round, scenario, options);
        observer.begins(scenario, rounds.wanted);
        let (mut result, halt) =
            play(&mut round, scenario, &rounds, &options.interrupt, &mut latencies, observer).await;
        result.dispensable = options.without.iter().any(|name| name == scenario.name)
            || !options.asked_by_name && (scenario.is_optional() || lacks_route(&round, scenario));
        observer.ended(&result);
        results.push(result);
        if let Some(halt) = halt {
            stopped = Some(halt);
            break;
        }
    }
    if let (Some(tables), None, false) = (&options.tables, &stopped, options.asked_by_name) {
        let row = deadline_schedules(target, options, tables).await;
        observer.ended(&row);
        results.push(row);
    }
    // What was found stands, whatever fails from here on.
    let internal = round.leave().await.err();
    let departures = target.dialect().departures();
    let verdict = if options.strict && !departures.is_empty() { Verdict::Broken } else { verdict(&results) };
    let strict = options.strict;
    Ok(RaceResult { seed: options.seed, scenarios: results, verdict, departures, strict, stopped, internal, latencies })
}

/// Schedules of two calls that meet a deadline, behind gates, as one more row.
async fn deadline_schedules(target: &Target, options: &Options, tables: &Tables) -> ScenarioResult {
    let began = Instant::now();
    let mut row = ScenarioResult::empty(DEADLINE_SCHEDULES);
    let schedules = schedule::deadline_schedules(&Seed::new(options.seed), SCHEDULES_MAX);
    let mut unwatched = Unwatched;
    // The log is read by the scenarios' own stage.
    let unlogged = Options { witness: false, ..options.clone() };
    let explored = match Explorer::stage(target, &unlogged, tables.clone()).await {
        Ok(explorer) => tokio::select! {
            explored = explorer.explore(&schedules, &mut unwatched) => explored.map_err(|halt| halt.to_string()),
            () = options.interrupt.asked() => Err("interrupted".to_owned()),
        },
        Err(why) => Err(why),
    };
    row.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match explored {
        Ok(explored) => {
            row.rounds = u32::try_from(explored.lines.len()).unwrap_or(u32::MAX);
            row.verdict = explored.verdict();
            row.outcomes = [("seen to wait".to_owned(), explored.waited as u64)].into();
            row.undecided = explored.undecided.iter().cloned().collect();
            if explored.waited == 0 {
                row.undecided.push("no call was seen to wait at a gate".to_owned());
            }
            row.layers = explored.failure.iter().map(|failure| failure.layer).collect();
            row.breaches = explored.failure.iter().map(|failure| failure.breach).collect();
            row.failure = explored.failure;
        }
        Err(why) => {
            row.undecided.push(why);
            row.skipped = true;
            // Tables that were named must be there; those of another schema than ours cannot be guessed.
            row.dispensable = *tables == Tables::default();
        }
    }
    row
}

struct Unwatched;

impl Watcher for Unwatched {
    fn played(&mut self, _: usize, _: usize) {}
}

/// Which rounds to play.
struct Rounds {
    first: u32,
    wanted: u32,
    /// How many may be played until the race has taken place.
    max: u32,
}

impl Rounds {
    fn of(round: &Round, scenario: &Scenario, options: &Options) -> Self {
        if let Some(first) = options.only_round {
            return Rounds { first, wanted: 1, max: 1 };
        }
        let wanted = options.rounds.unwrap_or_else(|| usual_rounds(round, scenario)).max(1);
        Rounds { first: 1, wanted, max: (2 * wanted).max(ROUNDS_MIN) }
    }
}

/// Where a deadline is seconds away, a part of the rounds takes as long as all of them elsewhere.
fn usual_rounds(round: &Round, scenario: &Scenario) -> u32 {
    let coarse = scenario.needs.deadline && round.short_deadlines() && round.ttl_ms(1) >= 1_000;
    match round.target().dialect().fixed_ttl_ms() {
        Some(_) if scenario.needs.deadline => (scenario.rounds / 8).max(2),
        _ if coarse => (scenario.rounds / 4).max(4),
        _ => scenario.rounds,
    }
}

/// The worst verdict; undecided where nothing is left.
fn verdict(results: &[ScenarioResult]) -> Verdict {
    let counted = results.iter().filter(|result| !(result.skipped && result.dispensable));
    counted.map(|result| result.verdict).max().unwrap_or(Verdict::Undecided)
}

/// All rounds of one scenario, up to one that shows that the writes do not hold. Where what must be seen was not seen, it goes on for as many
/// rounds again, and a few, before it gives up: a race that did not take place proves nothing.
async fn play(
    round: &mut Round,
    scenario: &Scenario,
    rounds: &Rounds,
    interrupt: &Interrupt,
    latencies: &mut Latencies,
    observer: &mut dyn Observer,
) -> (ScenarioResult, Option<Stopped>) {
    let began = Instant::now();
    let mut sum = Findings::default();
    let mut failure = None;
    let mut drawing: Option<(usize, Drawing)> = None;
    let pace = round.target().pace().clone();
    let mut stopped = None;
    let (mut number, mut spoilt, mut since_breach) = (0, 0, 0);
    let lack = lack(round, scenario);
    let skipped = lack.is_some();
    sum.undecided.extend(lack);
    let more =
        |played: u32, sum: &Findings| played < rounds.wanted || (played < rounds.max && !took_place(scenario, sum));
    while !skipped && more(number - spoilt, &sum) {
        round.begin(scenario.name, rounds.first + number);
        let played = tokio::select! {
            biased;
            () = interrupt.asked() => Err(Halt::Interrupted),
            why = pace.exhausted() => Err(Halt::Limited(why)),
            played = play_round(round, scenario) => played,
        };
        number += 1;
        observer.played(number);
        if matches!(played, Err(Halt::Interrupted)) {
            round.check();
        }
        let mut findings = std::mem::take(&mut round.findings);
        if matches!(played, Err(Halt::Spoilt(_))) && findings.violations.is_empty() && spoilt < SPOILT_MAX {
            spoilt += 1;
            continue;
        }
        if let Err(halt) = played {
            stopped = note(halt, scenario, number, &mut findings);
        }
        round.calls.iter().for_each(|call| latencies.note(call));
        let fullest = overlapped(&findings);
        let gravest = findings.violations.iter().min_by_key(|found| found.breach);
        let known = failure.as_ref().map(|told: &telling::Failure| told.breach);
        if let Some(gravest) = gravest.filter(|found| known.is_none_or(|known| found.breach < known)) {
            failure = Some(telling::tell(round, gravest));
            drawing = round.drawing(Some(gravest)).map(|drawn| (fullest, drawn));
        } else if failure.is_none() && drawing.as_ref().is_none_or(|(full, _)| fullest > *full) {
            drawing = round.drawing(None).map(|drawn| (fullest, drawn)).or(drawing);
        }
        gather(&mut sum, findings);
        // After an answer or a read that is wrong, some rounds go on: whether the writes hold is worth knowing too.
        since_breach += u32::from(failure.is_some());
        if since_breach > ROUNDS_AFTER_A_BREACH
            || failure.as_ref().is_some_and(|told| !told.breach.leaves_the_writes_open())
            || stopped.is_some()
        {
            break;
        }
    }
    if !skipped && failure.is_none() && stopped.is_none() && !took_place(scenario, &sum) {
        sum.undecided.push(missing(scenario, &sum));
    }
    let mut result = result(scenario, number, began.elapsed(), &sum, failure, skipped, stopped.is_some());
    result.drawing = drawing.map(|(_, drawing)| drawing);
    (result, stopped)
}

/// What this deployment lacks for a scenario.
fn lack(round: &Round, scenario: &Scenario) -> Option<String> {
    if scenario.needs.deadline && !round.short_deadlines() {
        return Some("no short deadline can be set on this deployment (--expire-sql can move one)".to_owned());
    }
    if lacks_route(round, scenario) {
        return Some("this deployment has no route that records lapsed holds".to_owned());
    }
    if scenario.needs.fleet && round.fleet().is_none() {
        return Some("nothing can be made to fail: the services were not started by --start".to_owned());
    }
    if scenario.needs.key && !round.target().dialect().behaviour.idempotency_key {
        return Some("this deployment honours no Idempotency-Key".to_owned());
    }
    if scenario.needs.late_confirm && !round.target().dialect().behaviour.late_confirm_reacquires {
        return Some("this deployment offers no confirm that takes a lapsed hold's units anew".to_owned());
    }
    None
}

fn lacks_route(round: &Round, scenario: &Scenario) -> bool {
    scenario.needs.sweep && round.target().dialect().routes.expire.is_empty()
}

async fn play_round(round: &mut Round, scenario: &Scenario) -> Result<(), Halt> {
    round.exact = scenario.exact;
    // Where every hold lapses after seconds, a race that is not about deadlines ends before them.
    round.waits = scenario.needs.deadline || round.target().dialect().fixed_ttl_ms().is_none();
    let played = (scenario.play)(round).await;
    // The sampler is called home even from a round that went wrong: the next one needs it.
    let closed = if played.is_ok() { round.close().await } else { round.end_watch().await };
    let ended = played.and(closed);
    if ended.is_err() {
        // What was found before the round ended early is no less true.
        round.check();
    }
    ended
}

fn note(halt: Halt, scenario: &Scenario, number: u32, findings: &mut Findings) -> Option<Stopped> {
    match halt {
        Halt::Interrupted => {
            let why = format!("interrupted in round {number} of {}; what came after it was not played", scenario.name);
            Some(Stopped { why, target: false })
        }
        Halt::Limited(why) => Some(Stopped { why, target: false }),
        Halt::Unreachable(why) | Halt::PlainPath(why) => Some(Stopped { why, target: true }),
        Halt::Undecided(why) | Halt::Spoilt(why) => {
            findings.undecided.push(why);
            None
        }
    }
}

fn took_place(scenario: &Scenario, sum: &Findings) -> bool {
    scenario.must_see.iter().all(|what| sum.seen.contains(what)) && overlapped(sum) >= scenario.overlap_min
}

fn overlapped(sum: &Findings) -> usize {
    sum.spreads.iter().map(|spread| spread.overlapped).max().unwrap_or(0)
}

fn missing(scenario: &Scenario, sum: &Findings) -> String {
    match scenario.must_see.iter().find(|what| !sum.seen.contains(*what)) {
        Some(what) => format!("the race did not take place: \"{what}\" was never seen"),
        None => format!(
            "the race did not take place: at most {} calls were under way at once, not {}",
            overlapped(sum),
            scenario.overlap_min
        ),
    }
}

fn gather(sum: &mut Findings, findings: Findings) {
    sum.violations.extend(findings.violations);
    sum.undecided.extend(findings.undecided);
    sum.spreads.extend(findings.spreads);
    sum.seen.extend(findings.seen);
    sum.samples.0 += findings.samples.0;
    sum.samples.1 += findings.samples.1;
    sum.versions += findings.versions;
    sum.states += findings.states;
    sum.loosely += findings.loosely;
    for (word, count) in findings.outcomes {
        *sum.outcomes.entry(word).or_default() += count;
    }
}

fn result(
    scenario: &Scenario,
    rounds: u32,
    took: Duration,
    sum: &Findings,
    failure: Option<telling::Failure>,
    skipped: bool,
    stopped: bool,
) -> ScenarioResult {
    let mut released: Vec<u64> = sum.spreads.iter().map(|spread| spread.released_us).collect();
    released.sort_unstable();
    let median = released.get(released.len() / 2).copied().unwrap_or(0);
    let undecided: Vec<String> = sum.undecided.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let breaches: BTreeSet<Breach> = sum.violations.iter().map(|violation| violation.breach).collect();
    let layers: BTreeSet<Layer> = sum.violations.iter().map(|violation| violation.layer).collect();
    let verdict = if failure.is_some() {
        Verdict::Broken
    } else if !undecided.is_empty() || stopped || rounds == 0 {
        Verdict::Undecided
    } else {
        Verdict::Held
    };
    ScenarioResult {
        scenario: scenario.name,
        rounds,
        verdict,
        outcomes: sum.outcomes.clone(),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        spread_us: (median, released.last().copied().unwrap_or(0)),
        overlapped: overlapped(sum),
        samples: sum.samples,
        versions: sum.versions,
        states: sum.states,
        loosely: sum.loosely,
        undecided,
        layers: layers.into_iter().collect(),
        breaches: breaches.into_iter().collect(),
        failure,
        skipped,
        dispensable: false,
        drawing: None,
    }
}
