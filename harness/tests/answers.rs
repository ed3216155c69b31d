//! Every scenario beside every kind of answer: one call of a correct service is answered otherwise, by a gateway or by a
//! failure, once after it was done and once instead. The table says what each makes of the verdict.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use rstest::rstest;
use stockhold_harness::internal::{
    check::Verdict,
    control::{Control, Odd, OddAnswer, Shape},
    drive::{Options, Silent, find, race},
    history::Recorder,
    target::{Dialect, Keys, Target},
};

use OddAnswer::{CutShort, Garbage, Silence, Status};

/// The verdicts that a kind of answer allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Makes {
    /// The service failed where every answer is stated.
    BrokenWhereExact,
    /// The call may or may not have happened: never broken.
    Unknown,
    /// The call was not executed, and is made again: held.
    NotExecuted,
}

const KINDS: [(&str, OddAnswer, Makes); 10] = [
    ("500", Status(500, None), Makes::BrokenWhereExact),
    ("503", Status(503, None), Makes::BrokenWhereExact),
    ("502", Status(502, None), Makes::Unknown),
    ("504", Status(504, None), Makes::Unknown),
    ("408", Status(408, None), Makes::Unknown),
    ("no JSON", Garbage, Makes::Unknown),
    ("cut short", CutShort, Makes::Unknown),
    ("silence", Silence, Makes::Unknown),
    ("429 later", Status(429, Some(0)), Makes::NotExecuted),
    ("503 later", Status(503, Some(0)), Makes::NotExecuted),
];

async fn raced(scenario: &str, verb: &'static str, nth: u64, answer: OddAnswer, executed: bool) -> (Verdict, String) {
    let odd = Odd::new(verb, nth, answer, executed);
    let control =
        Control::answering(2, None, Shape { reacquires: true, ..Shape::default() }, Some(odd.clone())).await.unwrap();
    let recorder = Recorder::start(None).unwrap();
    let mut dialect = Dialect::default();
    dialect.behaviour.late_confirm_reacquires = true;
    let target = Target::new(&control.urls, dialect, Keys::default(), Duration::from_millis(700), recorder).unwrap();
    let options = Options { rounds: Some(1), ..Options::new(7, "test") };
    let result = race(&target, &[find(scenario).unwrap()], &options, &mut Silent).await.unwrap();
    assert!(odd.was_given(), "{scenario} made no {verb} number {nth}");
    let row = &result.scenarios[0];
    let why = row.failure.as_ref().map(|failure| failure.what.clone());
    let stopped = result.stopped.clone().map(|stopped| stopped.why);
    (result.verdict, why.or(stopped).unwrap_or_else(|| row.undecided.join("; ")))
}

#[rstest]
#[case::burst("burst", "reserve", 20)]
#[case::last_unit("last_unit", "reserve", 10)]
#[case::mixed_quantities("mixed_quantities", "reserve", 20)]
#[case::confirm_expire("confirm_expire", "confirm", 2)]
#[case::confirm_deadline("confirm_deadline", "confirm", 5)]
#[case::cancel_confirm("cancel_confirm", "confirm", 2)]
#[case::confirm_confirm("confirm_confirm", "confirm", 3)]
#[case::cancel_cancel("cancel_cancel", "cancel", 3)]
#[case::sweeps("sweeps", "expire", 2)]
#[case::reserve_cancel("reserve_cancel", "cancel", 2)]
#[case::confirm_cancel_expire("confirm_cancel_expire", "cancel", 2)]
#[case::resale("resale", "confirm", 1)]
#[case::late_confirm("late_confirm", "confirm", 2)]
#[case::lost_answer("lost_answer", "reserve", 7)]
#[case::availability("availability", "get_item", 5)]
#[case::refusals("refusals", "cancel", 2)]
#[case::limits("limits", "reserve", 3)]
#[case::walk("walk", "reserve", 15)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_odd_answer(#[case] scenario: &'static str, #[case] verb: &'static str, #[case] nth: u64) {
    let mut wrong = Vec::new();
    let mut row = format!("{scenario:<22}");
    for (name, answer, makes) in KINDS {
        for executed in [false, true] {
            if executed && makes == Makes::NotExecuted {
                continue;
            }
            let (verdict, why) = raced(scenario, verb, nth, answer, executed).await;
            row.push_str(&format!(" {}", &verdict.word()[..1]));
            let exact = find(scenario).unwrap().exact;
            let right = match makes {
                Makes::BrokenWhereExact if exact => verdict == Verdict::Broken,
                Makes::BrokenWhereExact | Makes::Unknown => verdict != Verdict::Broken,
                Makes::NotExecuted => verdict == Verdict::Held,
            };
            if !right {
                let when = if executed { "after" } else { "instead of" };
                wrong.push(format!("{name} {when} {verb} {nth}: {}: {why}", verdict.word()));
            }
        }
    }
    println!("{row}");
    assert!(wrong.is_empty(), "{scenario}:\n{}", wrong.join("\n"));
}
