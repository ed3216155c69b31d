//! The report: readable by a CI whatever the target says, drawn with the failing calls marked, written whole or not at
//! all, also when the run is interrupted.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rstest::rstest;
use stockhold_harness::internal::{
    check::{Breach, Layer, Limits, Verdict, check_file},
    control::{Control, Fault},
    drive::{Failure, Interrupt, Observer, Options, RaceResult, Scenario, ScenarioResult, Silent, Stopped, find, race},
    history::{Recorder, read},
    report::{self, History, Place, Section, Setting},
    target::{Dialect, Keys, Target},
};

async fn target(control: &Control, recorder: Recorder) -> Target {
    Target::new(&control.urls, Dialect::default(), Keys::default(), Duration::from_secs(10), recorder).unwrap()
}

async fn raced(fault: Option<Fault>, names: &[&str]) -> (RaceResult, Target) {
    let control = Control::start(2, fault).await.unwrap();
    let target = target(&control, Recorder::nameless(&std::env::temp_dir()).unwrap()).await;
    let scenarios: Vec<_> = names.iter().filter_map(|name| find(name)).collect();
    let options = Options { rounds: Some(2), ..Options::new(1, "test") };
    let result = race(&target, &scenarios, &options, &mut Silent).await.unwrap();
    target.recorder().finish().unwrap();
    (result, target)
}

/// A directory of a test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("harness-report-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const FILES: [&str; 4] = ["history.jsonl", "index.html", "junit.xml", "summary.json"];
const HOSTILE: &str = "</script><script>alert(1)</script>\u{0}\u{1b}[31m]]>&\"'\u{202e}\u{ffff}\r\n<!--";

fn row(name: &'static str, verdict: Verdict) -> ScenarioResult {
    ScenarioResult {
        scenario: name,
        rounds: 3,
        verdict,
        outcomes: [(HOSTILE.to_owned(), 7)].into(),
        took_ms: 1_234,
        spread_us: (10, 20),
        overlapped: 5,
        samples: (1, 2),
        versions: 0,
        states: 0,
        layers: Default::default(),
        loosely: 0,
        undecided: Vec::new(),
        failure: None,
        breaches: Vec::new(),
        skipped: false,
        dispensable: false,
        drawing: None,
    }
}

/// One scenario of each kind, with the worst a target can say wherever it is repeated.
fn hostile() -> (RaceResult, Setting) {
    let text = || HOSTILE.to_owned();
    let failure = Failure {
        scenario: "burst".to_owned(),
        round: 2,
        what: text(),
        layer: Layer::Occupancy,
        breach: Breach::SoldTwice,
        instant_ms: Some(1.5),
        item: text(),
        holds: vec![text()],
        events: vec![text()],
        marks: vec![true],
        reproduce: vec![text()],
    };
    let scenarios = vec![
        row("last_unit", Verdict::Held),
        ScenarioResult { failure: Some(failure), ..row("burst", Verdict::Broken) },
        ScenarioResult { undecided: vec![text()], ..row("sweeps", Verdict::Undecided) },
        ScenarioResult {
            undecided: vec![text()],
            skipped: true,
            dispensable: true,
            rounds: 0,
            ..row("resale", Verdict::Undecided)
        },
    ];
    let stopped = Some(Stopped { why: text(), target: false });
    let result = RaceResult {
        seed: 42,
        scenarios,
        verdict: Verdict::Broken,
        departures: Vec::new(),
        strict: false,
        stopped,
        internal: None,
        latencies: Default::default(),
    };
    let mut setting = Setting::new("abcd1234");
    setting.urls = vec![text()];
    setting.found = vec![text()];
    setting.sections = vec![Section { title: text(), words: text(), columns: vec![text()], rows: vec![vec![text()]] }];
    (result, setting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_run_is_marked_and_a_failure() {
    let (result, _) = raced(Some(Fault::CheckThenTake), &["burst"]).await;
    let page = report::html(&result, &Setting::new("test"));
    assert!(page.contains("class=\"failing\"") && page.contains("Reproduce with"));
    let xml = report::junit(&result, &Setting::new("test"));
    let file = roxmltree::Document::parse(&xml).unwrap();
    let failure = file.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert!(failure.text().unwrap().contains("Reproduce with:"), "the failure is told in full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_that_held_is_drawn_and_told_too() {
    let (result, _) = raced(None, &["cancel_confirm"]).await;
    let drawing = result.scenarios[0].drawing.as_ref().unwrap();
    assert!(drawing.bars.iter().all(|bar| !bar.marked && bar.lane < drawing.lanes && bar.from_us <= bar.to_us));
    assert!(drawing.focus_us.0 < drawing.focus_us.1 && drawing.focus_us.1 <= drawing.span_us);
    assert!(drawing.band.iter().all(|(_, least, most)| *least <= *most && *most <= drawing.total + 20));
    let page = report::html(&result, &Setting::new("test"));
    assert!(page.contains("class=\"lanes\"") && !page.contains("class=\"failing\""));
    assert!(page.contains("Ten holds are each confirmed and cancelled at the same moment"), "in its own words");
}

#[test]
fn nothing_a_target_says_is_obeyed_by_the_page() {
    let (result, setting) = hostile();
    let page = report::html(&result, &setting);
    assert_eq!(page.matches("<script").count(), 1, "the page's own");
    assert!(!page.contains("<!--") && !page.contains('\u{1b}') && !page.contains('\u{202e}') && !page.contains('\0'));
    assert!(page.contains("\\u{1b}[31m") && page.contains("\\u{202e}"), "what it said can be seen");
    // The only addresses are the target's own, as text: nothing is fetched.
    assert!(
        !page.contains("src=")
            && !page.contains("@import")
            && !page.contains("url(")
            && !page.contains("http-equiv=\"refresh\"")
    );
    assert!(page.contains("default-src 'none'"), "and nothing could be");
}

#[test]
fn junit_keeps_to_what_its_readers_have_in_common() {
    let (result, setting) = hostile();
    let xml = report::junit(&result, &setting);
    let file = roxmltree::Document::parse(&xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    let suites = file.root_element();
    let elements = |node: roxmltree::Node<'_, '_>| -> Vec<String> {
        node.children().filter(|child| child.is_element()).map(|child| child.tag_name().name().to_owned()).collect()
    };
    assert_eq!((suites.tag_name().name(), elements(suites)), ("testsuites", vec!["testsuite".to_owned()]));
    let suite = suites.first_element_child().unwrap();
    let mut expected = vec!["properties"];
    expected.extend(["testcase"; 5]);
    assert_eq!(elements(suite), expected, "properties come first");
    for name in ["name", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"] {
        assert!(suite.attribute(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
    assert!(chrono::NaiveDateTime::parse_from_str(suite.attribute("timestamp").unwrap(), "%Y-%m-%dT%H:%M:%S").is_ok());
    let count = |tag: &str| suite.descendants().filter(|node| node.has_tag_name(tag)).count().to_string();
    for node in [suites, suite] {
        for (attribute, tag) in
            [("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
        {
            assert_eq!(node.attribute(attribute), Some(count(tag).as_str()), "{attribute}");
        }
    }
    let cases: Vec<_> = suite.children().filter(|node| node.has_tag_name("testcase")).collect();
    let came: Vec<_> = cases
        .iter()
        .map(|case| {
            for name in ["classname", "name", "time"] {
                assert!(case.attribute(name).is_some_and(|value| !value.is_empty()), "{name}");
            }
            let came = elements(*case);
            assert!(came.iter().all(|tag| ["failure", "error", "skipped", "system-out"].contains(&tag.as_str())));
            (case.attribute("name").unwrap(), came.first().cloned().unwrap())
        })
        .map(|(name, came)| format!("{name} {came}"))
        .collect();
    assert_eq!(
        came,
        ["last_unit system-out", "burst failure", "sweeps error", "resale skipped", "the whole run error"]
    );
    let seconds = |node: &roxmltree::Node<'_, '_>| node.attribute("time").unwrap().parse::<f64>().unwrap();
    assert!((cases.iter().map(seconds).sum::<f64>() - seconds(&suite)).abs() < 0.002);
    let seed = suite.descendants().find(|node| node.attribute("name") == Some("seed")).unwrap();
    assert_eq!(seed.attribute("value"), Some("42"));
}

#[rstest]
#[case::held(vec![row("burst", Verdict::Held)], "0", "0", "0")]
#[case::undecided(vec![row("burst", Verdict::Undecided)], "0", "1", "0")]
#[case::nothing(vec![], "0", "1", "0")]
fn a_run_that_showed_nothing_is_an_error_and_never_a_pass(
    #[case] scenarios: Vec<ScenarioResult>,
    #[case] failures: &str,
    #[case] errors: &str,
    #[case] skipped: &str,
) {
    let verdict = scenarios.iter().map(|row| row.verdict).max().unwrap_or(Verdict::Undecided);
    let result = RaceResult {
        seed: 1,
        scenarios,
        verdict,
        departures: Vec::new(),
        strict: false,
        stopped: None,
        internal: None,
        latencies: Default::default(),
    };
    let xml = report::junit(&result, &Setting::new("test"));
    let file = roxmltree::Document::parse(&xml).unwrap();
    let counts = ["failures", "errors", "skipped"].map(|name| file.root_element().attribute(name).unwrap());
    assert_eq!(counts, [failures, errors, skipped]);
}

#[test]
fn the_summary_keeps_its_fields() {
    let (result, setting) = hostile();
    let summary: serde_json::Value = serde_json::from_str(&report::summary(&result, &setting).unwrap()).unwrap();
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(summary["format"], report::FORMAT);
    assert_eq!(
        fields(&summary),
        "began control departures evidence format harness internal latency not_checked run scenarios sections seed stopped \
         strict urls verdict"
    );
    assert_eq!(
        fields(&summary["scenarios"][1]),
        "breaches dispensable failure layers loosely outcomes overlapped rounds samples scenario skipped spread_us states \
         took_ms undecided verdict versions"
    );
    assert_eq!(
        fields(&summary["scenarios"][1]["failure"]),
        "breach events holds instant_ms item layer marks reproduce round scenario what"
    );
    assert_eq!(fields(&summary["evidence"]), "control database http ledger log");
    assert_eq!((&summary["verdict"], &summary["scenarios"][1]["failure"]["what"]), (&"broken".into(), &HOSTILE.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_four_files_and_never_written_over_another() {
    let (result, target) = raced(Some(Fault::CheckThenTake), &["burst"]).await;
    let folder = Folder::new();
    let directory = folder.0.join("report");
    let place = Place::vacant(&directory).unwrap();
    place.write(&result, &Setting::new("test"), History::Recorded(target.recorder())).unwrap();
    assert_eq!(names(&directory), FILES);
    assert_eq!(folder.names(), ["report"], "and nothing beside it");
    assert!(Place::vacant(&directory).is_err());
    // A run that was started before the other one was written is told late, and leaves nothing either.
    assert!(place.write(&result, &Setting::new("test"), History::Recorded(target.recorder())).is_err());
    assert_eq!((folder.names(), names(&directory)), (vec!["report".to_owned()], FILES.map(String::from).to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_leaves_nothing_behind() {
    let (result, _) = raced(None, &["last_unit"]).await;
    let folder = Folder::new();
    let place = Place::vacant(&folder.0.join("report")).unwrap();
    let written = place.write(&result, &Setting::new("test"), History::File(&folder.0.join("gone.jsonl")));
    assert!(written.is_err());
    assert_eq!(folder.names(), [""; 0]);
    assert!(Place::vacant(&folder.0.join("no such folder/report")).is_err());
}

/// Stops the race once it has seen a round.
struct Impatient(Option<stockhold_harness::internal::drive::Stop>);

impl Observer for Impatient {
    fn begins(&mut self, _: &Scenario, _: u32) {}
    fn played(&mut self, _: u32) {
        self.0.take().iter().for_each(stockhold_harness::internal::drive::Stop::stop);
    }
    fn ended(&mut self, _: &ScenarioResult) {}
}

#[rstest]
#[case(None, Verdict::Undecided)]
#[case(Some(Fault::CheckThenTake), Verdict::Broken)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_race_keeps_what_it_saw_and_never_counts_as_held(
    #[case] fault: Option<Fault>,
    #[case] expected: Verdict,
) {
    let control = Control::start(2, fault).await.unwrap();
    let target = target(&control, Recorder::start(None).unwrap()).await;
    let (stop, interrupt) = Interrupt::new();
    let scenarios = ["last_unit", "burst"].map(|name| find(name).unwrap());
    let options = Options { rounds: Some(50), interrupt, ..Options::new(1, "test") };
    let result = race(&target, &scenarios, &options, &mut Impatient(Some(stop))).await.unwrap();
    assert_eq!(result.verdict, expected);
    assert!(
        result
            .stopped
            .as_ref()
            .is_some_and(|stopped| stopped.why.starts_with("interrupted in round") && !stopped.target)
    );
    assert!(result.scenarios.iter().map(|row| row.rounds).sum::<u32>() <= 3, "it ended at once");
    let xml = report::junit(&result, &Setting::new("test"));
    assert!(xml.contains("name=\"the whole run\""));
    assert!(report::html(&result, &Setting::new("test")).contains("Stopped early"));
}

/// Races until the first scenario has begun, sends signals, and resolves to the exit code.
#[cfg(unix)]
async fn interrupted(folder: &Folder, signals: &[&str]) -> Option<i32> {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let control = Control::start(2, None).await.unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockhold-harness"));
    command.arg("race").args(control.urls.iter().flat_map(|url| ["--url".to_owned(), url.to_string()]));
    command.args(["--rounds", "2000", "--report", "report"]).current_dir(&folder.0);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let mut harness = command.spawn().unwrap();
    let mut lines = BufReader::new(harness.stderr.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("rounds …") {
            break;
        }
    }
    // While it races, nothing of the report is to be seen.
    assert_eq!(folder.names(), [""; 0]);
    let pid = harness.id().unwrap().to_string();
    for signal in signals {
        std::process::Command::new("kill").args([format!("-{signal}"), pid.clone()]).output().unwrap();
    }
    harness.wait().await.unwrap().code()
}

#[cfg(unix)]
#[rstest]
#[case::by_a_person("INT")]
#[case::by_a_ci("TERM")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_writes_a_whole_report_of_what_was_played(#[case] signal: &str) {
    let folder = Folder::new();
    assert_eq!(interrupted(&folder, &[signal]).await, Some(2));
    assert_eq!(folder.names(), ["report"]);
    let directory = folder.0.join("report");
    assert_eq!(names(&directory), FILES);
    let summary = std::fs::read_to_string(directory.join("summary.json")).unwrap();
    assert!(summary.contains("interrupted in round 1 of burst"), "{summary}");
    let history = read(std::fs::File::open(directory.join("history.jsonl")).unwrap()).unwrap();
    assert!(check_file(&history, Limits::default()).verdict <= Verdict::Undecided);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_ctrl_c_leaves_a_whole_report_or_none() {
    for _ in 0..5 {
        let folder = Folder::new();
        assert_eq!(interrupted(&folder, &["INT", "INT"]).await, Some(2));
        let whole = folder.names() == ["report"] && names(&folder.0.join("report")) == FILES;
        assert!(whole || folder.names().is_empty(), "{:?}", folder.names());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_in_a_report_is_judged_alike_and_can_be_reported_itself() {
    let control = Control::start(2, Some(Fault::CheckThenTake)).await.unwrap();
    let folder = Folder::new();
    let harness = |args: Vec<String>| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockhold-harness"));
        command.args(args).current_dir(&folder.0);
        async move { command.output().await.unwrap().status.code() }
    };
    let mut args: Vec<String> = control.urls.iter().flat_map(|url| ["--url".to_owned(), url.to_string()]).collect();
    args.insert(0, "race".to_owned());
    args.extend(["--scenario", "burst", "--rounds", "1", "--report", "first"].map(String::from));
    assert_eq!(harness(args).await, Some(1));
    let check = ["check", "first/history.jsonl", "--report", "second"].map(String::from).to_vec();
    assert_eq!(harness(check.clone()).await, Some(1));
    assert_eq!(names(&folder.0.join("second")), FILES);
    assert_eq!(
        std::fs::read(folder.0.join("first/history.jsonl")).unwrap(),
        std::fs::read(folder.0.join("second/history.jsonl")).unwrap()
    );
    let page = std::fs::read_to_string(folder.0.join("second/index.html")).unwrap();
    assert!(page.contains("class=\"failing\"") && page.contains("stockhold-harness check first/history.jsonl"));
    assert_eq!(harness(check).await, Some(3), "a report is never written over another");
}
