//! The report of a broken run: readable by a CI, drawn with the failing calls marked, written whole or not at all.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use stockhold_harness::{
    control::{Control, Fault},
    dialect::Dialect,
    history::Recorder,
    race::{Options, RaceResult, Silent, race},
    report::{self, Setting},
    scenario,
    target::{Keys, Target},
};

async fn broken() -> RaceResult {
    let control = Control::start(2, Some(Fault::CheckThenTake)).await.unwrap();
    let recorder = Recorder::start(None).unwrap();
    let target =
        Target::new(&control.urls, Dialect::default(), Keys::default(), Duration::from_secs(10), recorder).unwrap();
    let burst = scenario::find("burst").unwrap();
    race(&target, &[burst], &Options { rounds: Some(2), ..Options::new(1, "test") }, &mut Silent).await.unwrap()
}

fn setting() -> Setting {
    let urls = vec!["http://127.0.0.1/<script>".to_owned()];
    Setting { run: "test".to_owned(), urls, found: Vec::new(), ledger: false, control: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_run_is_marked_in_the_page_and_a_failure_in_junit() {
    let result = broken().await;
    let page = report::html(&result, &setting());
    assert!(page.contains("class=\"failing\"") && page.contains("Reproduce with:"));
    assert!(!page.contains("<script>"), "what a target says is text");
    // The only addresses are the target's own: nothing is fetched.
    assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("url("));
    let junit = report::junit(&result);
    assert!(junit.contains("failures=\"1\"") && junit.contains("<failure message="));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_never_written_over_another() {
    let directory = std::env::temp_dir().join(format!("harness-report-{}", uuid::Uuid::now_v7()));
    report::vacant(&directory).unwrap();
    report::write(&directory, &broken().await, &setting()).unwrap();
    for name in ["index.html", "junit.xml", "summary.json"] {
        assert!(directory.join(name).is_file());
    }
    assert!(report::vacant(&directory).is_err());
    std::fs::remove_dir_all(&directory).unwrap();
}
