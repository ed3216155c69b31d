//! The result for machines. Fields are added, never renamed, within a format; the README says what they mean.

use serde::Serialize;

use crate::{
    drive::{kill::Kill, race::RaceResult},
    report::{
        setting::{Section, Setting},
        words::{audited, not_checked, replayed},
    },
};

/// The format of `summary.json`: another number where a field has gone or means something else.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Summary<'r> {
    format: u32,
    harness: &'static str,
    run: &'r str,
    began: String,
    urls: &'r [String],
    evidence: Evidence,
    control: &'r [Kill],
    not_checked: Vec<String>,
    sections: &'r [Section],
    #[serde(flatten)]
    result: &'r RaceResult,
}

#[derive(Serialize)]
struct Evidence {
    http: bool,
    database: bool,
    ledger: bool,
    log: bool,
    control: bool,
}

/// The whole file.
pub fn summary(result: &RaceResult, setting: &Setting) -> serde_json::Result<String> {
    let summary = Summary {
        format: FORMAT,
        harness: env!("CARGO_PKG_VERSION"),
        run: &setting.run,
        began: setting.began.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        urls: &setting.urls,
        evidence: Evidence {
            http: true,
            database: setting.database,
            ledger: audited(result),
            log: replayed(result),
            control: !setting.control.is_empty(),
        },
        control: &setting.control,
        not_checked: not_checked(result, setting),
        sections: &setting.sections,
        result,
    };
    Ok(serde_json::to_string_pretty(&summary)? + "\n")
}
