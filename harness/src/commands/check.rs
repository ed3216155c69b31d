//! `check`: a recorded history again, without any deployment.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{
    check::{self, Limits},
    commands::{cli::Check, output::say},
    drive::telling,
    history,
    report::{
        exit_code::Exit,
        offline,
        place::{History, Place},
        setting::Setting,
    },
};

/// Checks a file, prints what was found, and writes a report where one is wanted.
pub fn check(arguments: &Check) -> Result<Exit> {
    let path = arguments.history.display();
    let place = arguments.report.as_deref().map(Place::vacant).transpose().map_err(anyhow::Error::msg)?;
    let file = std::fs::File::open(&arguments.history).with_context(|| format!("{path} cannot be opened"))?;
    let file = history::read(file).map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    let began = Instant::now();
    let checked = check::check_file(&file, Limits::default());
    if let Some(place) = place {
        let result = offline::result(&file, &checked, began.elapsed(), format!("stockhold-harness check {path}"));
        let mut setting = Setting::new(file.run.clone());
        setting.urls = file.instances.clone();
        setting.checked = Some(path.to_string());
        place.write(&result, &setting, History::File(&arguments.history)).context("the report cannot be written")?;
    }
    if arguments.json {
        say(&format!("{}\n", serde_json::to_string_pretty(&checked)?));
        return Ok(checked.verdict.into());
    }
    let mut text = format!("{}: {} operations on {} items", checked.verdict.word(), checked.operations, checked.items);
    if checked.loosely > 0 {
        text.push_str(&format!("; {} reads in a crowd were only compared with what can have been", checked.loosely));
    }
    text.push('\n');
    checked.undecided.iter().for_each(|why| text.push_str(&format!("undecided: {why}\n")));
    for violation in &checked.violations {
        text.push_str(&format!("broken ({}): {}\n", violation.layer, violation.what));
        let shown = file.calls.iter().filter(|call| violation.calls.contains(&call.id));
        shown.take(10).for_each(|call| text.push_str(&format!("  {}\n", telling::event(call))));
    }
    say(&text);
    Ok(checked.verdict.into())
}
