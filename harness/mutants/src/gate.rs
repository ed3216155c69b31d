//! The gate: the clean service first, then every chosen mutant; one line for each as it ends, the matrix, and an exit code
//! that is 0 only when nothing clean was accused and nothing broken escaped.

use std::path::PathBuf;

use serde_json::json;

use super::{
    Mutant, all,
    deployment::Grounds,
    matrix, one_of_each_kind,
    trial::{Trial, try_clean, try_mutant},
};
use stockhold_harness::internal::{drive::SCENARIOS, report::Exit};

/// Rounds of the clean service in the short form.
const SHORT_ROUNDS: u32 = 2;

/// What to try.
pub struct Plan {
    /// Where databases may be made.
    pub database_url: String,
    /// The service's program.
    pub serve: PathBuf,
    /// Only these mutants, if any are named.
    pub names: Vec<String>,
    /// One of each kind.
    pub short: bool,
    /// Every scenario on every mutant.
    pub matrix: bool,
    /// How often the clean service must hold first.
    pub clean_runs: u32,
    /// Rounds of each scenario there.
    pub rounds: Option<u32>,
    /// Where every choice comes from.
    pub seed: u64,
    /// Where the result is written for machines.
    pub json: Option<PathBuf>,
}

impl Plan {
    fn chosen(&self) -> Result<Vec<&'static Mutant>, String> {
        if self.names.is_empty() {
            return Ok(if self.short { one_of_each_kind() } else { all().collect() });
        }
        let known = |name: &String| {
            let names = || all().map(|mutant| mutant.name).collect::<Vec<_>>().join(", ");
            all()
                .find(|mutant| mutant.name == name)
                .ok_or_else(|| format!("no mutant is called {name}; there are {}", names()))
        };
        self.names.iter().map(known).collect()
    }
}

/// Tells every mutant in words.
pub fn list() -> String {
    all().map(|mutant| format!("{:<30} {}\n{:<30} {}\n", mutant.name, mutant.kind.word(), "", mutant.told)).collect()
}

/// Tries everything that was planned. `say` takes the result's lines; progress goes to the error stream. An error is a
/// mistake of the caller's, before anything was raced.
pub async fn gate(plan: &Plan, say: impl Fn(&str)) -> Result<Exit, String> {
    let chosen = plan.chosen()?;
    let grounds = Grounds::new(&plan.database_url, plan.serve.clone()).await?;
    let exit = tokio::select! {
        exit = run(plan, &chosen, &grounds, &say) => exit,
        () = interrupted() => {
            eprintln!("stockhold-harness: interrupted; seed {}", plan.seed);
            Ok(Exit::Undecided)
        }
    };
    let cleared = grounds.clear().await;
    let failed = exit.and_then(|exit| cleared.map(|()| exit));
    Ok(failed.unwrap_or_else(|why| {
        eprintln!("stockhold-harness: {why}");
        Exit::Broken
    }))
}

async fn run(plan: &Plan, chosen: &[&'static Mutant], grounds: &Grounds, say: &impl Fn(&str)) -> Result<Exit, String> {
    let rounds = plan.rounds.or(plan.short.then_some(SHORT_ROUNDS));
    for clean in [&Mutant::CLEAN, &Mutant::CLEAN_IN_BATCHES] {
        // As the mutants are raced, so is what they are told apart from.
        if chosen.iter().all(|mutant| mutant.coalescing != clean.coalescing) {
            continue;
        }
        let false_alarm = try_clean(grounds, clean, plan.clean_runs, rounds, plan.seed, |run, took| {
            eprintln!(
                "  {}, run {run} of {} over {} scenarios: {:.1} s",
                clean.name,
                plan.clean_runs,
                SCENARIOS.len(),
                took.as_secs_f64()
            );
        });
        if let Some(what) = false_alarm.await? {
            let name = clean.name;
            say(&format!(
                "The service as it is ({name}) raised an alarm; nothing is said of mutants. {what}\nseed {}\n",
                plan.seed
            ));
            return Ok(Exit::Broken);
        }
    }
    let mut trials: Vec<Trial> = Vec::with_capacity(chosen.len());
    for mutant in chosen {
        let trial = try_mutant(grounds, mutant, plan.matrix, plan.seed).await;
        let word = trial.complaint().map_or("caught".to_owned(), |what| format!("ESCAPED: {what}"));
        eprintln!("  {:<30} {:>4.1} s  {word}", mutant.name, trial.took.as_secs_f64());
        trials.push(trial);
    }
    say(&report(plan, &trials));
    if let Some(file) = &plan.json {
        let caught: Vec<_> =
            trials.iter().filter(|trial| trial.complaint().is_none()).map(|trial| trial.mutant.name).collect();
        let escaped: Vec<_> = trials
            .iter()
            .filter_map(|trial| Some(json!({ "mutant": trial.mutant.name, "why": trial.complaint()? })))
            .collect();
        let text = json!({ "caught": caught, "escaped": escaped, "seed": plan.seed }).to_string();
        std::fs::write(file, text).map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    }
    let caught = trials.iter().all(|trial| trial.complaint().is_none());
    Ok(if caught { Exit::Held } else { Exit::Broken })
}

fn report(plan: &Plan, trials: &[Trial]) -> String {
    let mut text = matrix::table(trials);
    if plan.matrix {
        text.push_str(&matrix::whole(trials));
    }
    let caught = trials.iter().filter(|trial| trial.complaint().is_none()).count();
    text.push_str(&format!(
        "\nseed {}; the clean service held {} times over {} scenarios; {caught} of {} mutants caught\n",
        plan.seed,
        plan.clean_runs,
        SCENARIOS.len(),
        trials.len()
    ));
    for trial in trials {
        if let Some(what) = trial.complaint() {
            text.push_str(&format!("\n{} escaped: {what}\n  {}\n", trial.mutant.name, trial.mutant.told));
            text.push_str(&format!(
                "  again: stockhold-mutants --serve {} --clean-runs 0 --mutant {} --seed {}\n",
                plan.serve.display(),
                trial.mutant.name,
                plan.seed
            ));
        }
    }
    text
}

/// Resolves when somebody asks this process to stop.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
