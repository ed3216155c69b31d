//! The control at work: a planted fault, raced before anything green may count.

use std::time::Duration;

use serde::Serialize;

use crate::{
    check::verdict::Layer,
    control::{Control, Fault},
    drive::{
        options::Options,
        race::{Silent, race},
        scenarios,
    },
    history::Recorder,
    target::{
        deployment::{Keys, Target},
        dialect::Dialect,
    },
};

/// A planted fault, and what came of racing it.
#[derive(Clone, Debug, Serialize)]
pub struct Kill {
    /// The mistake, as the code calls it.
    pub fault: String,
    /// What raced it.
    pub scenario: &'static str,
    /// Which check found it; none where it escaped.
    pub found_by: Option<Layer>,
    /// What the check said.
    pub what: String,
}

/// Races a control with a fault that every correct instrument finds.
pub async fn turns_red(seed: u64) -> Result<Kill, String> {
    let fault = Fault::CheckThenTake;
    let control = Control::start(2, Some(fault)).await.map_err(|error| format!("the control cannot start: {error}"))?;
    let recorder = Recorder::start(None).map_err(|error| error.to_string())?;
    let target = Target::new(&control.urls, Dialect::default(), Keys::default(), Duration::from_secs(10), recorder)?;
    let scenario = scenarios::find("burst").ok_or("there is no scenario for the control")?;
    let options = Options { rounds: Some(3), ..Options::new(seed, "control") };
    let result = race(&target, &[scenario], &options, &mut Silent).await?;
    let failure = result.scenarios.into_iter().find_map(|row| row.failure);
    let what = failure.as_ref().map_or_else(|| result.verdict.word().to_owned(), |failure| failure.what.clone());
    let found_by = failure.map(|failure| failure.layer);
    Ok(Kill { fault: format!("{fault:?}"), scenario: scenario.name, found_by, what })
}
