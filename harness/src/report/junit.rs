//! JUnit XML as CI servers read it: one suite, a test case a scenario; broken is a failure, undecided an error, never a
//! pass. The elements and their order are those that Jenkins, GitLab and GitHub's readers have in common.

use crate::{
    check::verdict::Verdict,
    drive::race::{RaceResult, ScenarioResult},
    report::{setting::Setting, text::xml, words::evidence_level},
};

/// The whole file.
pub fn junit(result: &RaceResult, setting: &Setting) -> String {
    let cases: Vec<Case> = result.scenarios.iter().map(Case::of).chain(whole_run(result)).collect();
    let count = |wanted: fn(&Came) -> bool| cases.iter().filter(|case| wanted(&case.came)).count();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\"",
        cases.len(),
        count(|came| matches!(came, Came::Failure { .. })),
        count(|came| matches!(came, Came::Error(_))),
        count(|came| matches!(came, Came::Skipped(_))),
        cases.iter().map(|case| case.seconds).sum::<f64>(),
    );
    let property =
        |(name, value): (&str, String)| format!("      <property name=\"{name}\" value=\"{}\"/>\n", xml(&value));
    let properties: String = [
        ("seed", result.seed.to_string()),
        ("run", setting.run.clone()),
        ("target", setting.urls.join(" ")),
        ("verdict", result.verdict.word().to_owned()),
        ("evidence", evidence_level(result, setting)),
    ]
    .map(property)
    .concat();
    let cases: String = cases.iter().map(Case::written).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"stockhold-harness\" {counts}>\n  \
         <testsuite name=\"stockhold-harness\" {counts} timestamp=\"{}\" hostname=\"localhost\">\n    \
         <properties>\n{properties}    </properties>\n{cases}  </testsuite>\n</testsuites>\n",
        setting.began.format("%Y-%m-%dT%H:%M:%S"),
    )
}

struct Case {
    name: String,
    seconds: f64,
    came: Came,
    out: String,
}

enum Came {
    Passed,
    Failure { layer: String, what: String, told: String },
    Error(String),
    Skipped(String),
}

/// A run that stopped before its end, or raced nothing, is one more case that did not pass.
fn whole_run(result: &RaceResult) -> Option<Case> {
    let nothing = result.scenarios.is_empty().then_some("nothing was raced");
    let why = result.stopped.as_ref().map(|stopped| stopped.why.as_str()).or(nothing)?;
    Some(Case { name: "the whole run".to_owned(), seconds: 0.0, came: Came::Error(why.to_owned()), out: String::new() })
}

impl Case {
    fn of(row: &ScenarioResult) -> Self {
        let why =
            if row.undecided.is_empty() { "it was not played to its end".to_owned() } else { row.undecided.join("; ") };
        let came = match (&row.failure, row.verdict) {
            (Some(failure), _) => Came::Failure {
                layer: failure.layer.to_string(),
                what: failure.what.clone(),
                told: failure.to_string(),
            },
            (None, _) if row.skipped && row.dispensable => Came::Skipped(why),
            (None, Verdict::Held) => Came::Passed,
            (None, Verdict::Undecided | Verdict::Broken) => Came::Error(why),
        };
        let outcomes: Vec<String> = row.outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let out = format!("{} rounds; {}", row.rounds, outcomes.join(", "));
        Case { name: row.scenario.to_owned(), seconds: row.took_ms as f64 / 1_000.0, came, out }
    }

    fn written(&self) -> String {
        let came = match &self.came {
            Came::Passed => String::new(),
            Came::Failure { layer, what, told } => {
                format!("      <failure type=\"{}\" message=\"{}\">{}</failure>\n", xml(layer), xml(what), xml(told))
            }
            Came::Error(why) => format!("      <error type=\"undecided\" message=\"{}\"/>\n", xml(why)),
            Came::Skipped(why) => format!("      <skipped message=\"{}\"/>\n", xml(why)),
        };
        let out = match self.out.as_str() {
            "" => String::new(),
            out => format!("      <system-out>{}</system-out>\n", xml(out)),
        };
        format!(
            "    <testcase classname=\"stockhold.race\" name=\"{}\" time=\"{:.3}\">\n{came}{out}    </testcase>\n",
            xml(&self.name),
            self.seconds
        )
    }
}
