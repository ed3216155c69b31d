//! The instrument against services whose faults are known: no false alarm on the correct one, every planted fault found.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use rstest::rstest;
use stockhold_harness::internal::{
    check::Verdict,
    control::{Control, Fault},
    drive::{Options, RaceResult, SCENARIOS, Scenario, Silent, find, race},
    history::Recorder,
    target::{Dialect, Keys, Target},
};

async fn raced(fault: Option<Fault>, scenarios: &[&'static Scenario], rounds: u32) -> RaceResult {
    let control = Control::start(2, fault).await.unwrap();
    let recorder = Recorder::start(None).unwrap();
    let target =
        Target::new(&control.urls, Dialect::default(), Keys::default(), Duration::from_secs(10), recorder).unwrap();
    let options = Options { rounds: Some(rounds), ..Options::new(1, "test") };
    race(&target, scenarios, &options, &mut Silent).await.unwrap()
}

fn failures(result: &RaceResult) -> String {
    let told = |row: &stockhold_harness::internal::drive::ScenarioResult| {
        let failure = row.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} {}\n{}{}", row.scenario, row.verdict.word(), row.undecided.join("\n"), failure)
    };
    result.scenarios.iter().map(told).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correct_service_holds() {
    let all: Vec<_> = SCENARIOS.iter().collect();
    let result = raced(None, &all, 4).await;
    assert_eq!(result.verdict, Verdict::Held, "{}", failures(&result));
}

#[rstest]
#[case(Fault::ReadModifyWrite, "burst")]
#[case(Fault::CheckThenTake, "burst")]
#[case(Fault::MutexInMemory, "burst")]
#[case(Fault::OffByOne, "burst")]
#[case(Fault::OversellThenRepair, "burst")]
#[case(Fault::FalseRefusal, "burst")]
#[case(Fault::SuccessThenRollback, "burst")]
#[case(Fault::ConfirmIgnoresExpiry, "confirm_expire")]
#[case(Fault::ConfirmIgnoresState, "cancel_confirm")]
#[case(Fault::DoubleDeduct, "confirm_confirm")]
#[case(Fault::DoubleRelease, "cancel_cancel")]
#[case(Fault::CancelAfterConfirm, "cancel_confirm")]
#[case(Fault::ReleaseNothing, "reserve_cancel")]
#[case(Fault::SweepReleasesTwice, "sweeps")]
#[case(Fault::SweepTooEarly, "confirm_expire")]
#[case(Fault::StaleAvailability, "cancel_cancel")]
#[case(Fault::StaleAvailability, "availability")]
#[case(Fault::ConfirmIgnoresExpiry, "confirm_deadline")]
#[case(Fault::SweepTooEarly, "confirm_deadline")]
#[case(Fault::KeyRace, "lost_answer")]
#[case(Fault::KeyIgnored, "lost_answer")]
#[case(Fault::RefusedYetTaken, "refusals")]
#[case(Fault::BusyMeansNone, "burst")]
#[case(Fault::BusyMeansNone, "cancel_confirm")]
#[case(Fault::ConfirmLosesUpdates, "confirm_confirm")]
#[case(Fault::UnknownIsOk, "refusals")]
#[case(Fault::PartOfAUnit, "limits")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_fault_is_found(#[case] fault: Fault, #[case] scenario: &str) {
    let scenario = find(scenario).unwrap();
    let result = raced(Some(fault), &[scenario], 10).await;
    assert_eq!(result.verdict, Verdict::Broken, "{fault:?} escaped\n{}", failures(&result));
}
