//! Services that name things in other ways: the probe recognises them, the correct ones hold, the faulty ones break.
#![cfg(feature = "race")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use rstest::rstest;
use stockhold_harness::internal::{
    check::Verdict,
    control::{Control, Fault, Shape},
    drive::{Options, RaceResult, SCENARIOS, Scenario, Silent, race},
    history::Recorder,
    target::{Asking, Backstage, Dialect, Keys, Mapping, Origin, Pace, Probed, Target, Unit, believe, probe},
};

const WAIT: Duration = Duration::from_secs(10);

fn shape(name: &str) -> Shape {
    Shape::usual().into_iter().find(|(known, _)| *known == name).unwrap().1
}

async fn probed(control: &Control, file: Option<&str>) -> Probed {
    let origin = Origin::parse(&control.urls[0]).unwrap();
    let (keys, pace) = (Keys::default(), Pace::default());
    let asking = Asking { origin: &origin, keys: &keys, wait: WAIT, run: "test", pace: &pace };
    match file {
        None => probe(asking, Dialect::default(), Backstage::default()).await.unwrap(),
        Some(file) => {
            believe(asking, Dialect::default().overridden(file).unwrap(), Backstage::default()).await.unwrap()
        }
    }
}

async fn raced(name: &str, fault: Option<Fault>) -> RaceResult {
    let control = Control::dressed(2, fault, shape(name)).await.unwrap();
    let dialect = probed(&control, None).await.dialect;
    let target = Target::new(&control.urls, dialect, Keys::default(), WAIT, Recorder::start(None).unwrap()).unwrap();
    // A fault is found by the races it breaks; only the correct service has to play them all.
    let breaks = |name: &str| ["burst", "cancel_confirm", "cancel_cancel"].contains(&name);
    let scenarios: Vec<_> = SCENARIOS.iter().filter(|scenario| fault.is_none() || breaks(scenario.name)).collect();
    // Where no caller can set a deadline, those that need one are accepted as missing.
    let deadline = |scenario: &&Scenario| scenario.needs.deadline && !target.dialect().short_deadlines();
    let without = SCENARIOS.iter().filter(deadline).map(|scenario| scenario.name.to_owned()).collect();
    let options = Options { rounds: Some(2), without, ..Options::new(3, "test") };
    race(&target, &scenarios, &options, &mut Silent).await.unwrap()
}

#[tokio::test]
async fn probe_finds_nothing_to_say_about_the_contract_itself() {
    let control = Control::start(1, None).await.unwrap();
    let mut probed = probed(&control, None).await;
    // How long a hold lives whose caller says nothing is every service's own affair.
    probed.dialect.behaviour.default_ttl_ms = None;
    assert_eq!(probed.dialect, Dialect::default());
    assert_eq!(probed.found, Vec::<String>::new());
}

#[tokio::test]
async fn probe_learns_how_a_service_says_that_too_few_are_left() {
    let control = Control::dressed(1, None, shape("guarded")).await.unwrap();
    let behaviour = probed(&control, None).await.dialect.behaviour;
    assert_eq!(
        (behaviour.insufficient_status, behaviour.insufficient_says.as_deref()),
        (Some(400), Some("cannot reserve"))
    );
    assert!(!behaviour.lapse_frees_at_once && !behaviour.exact_reasons);
}

#[tokio::test]
async fn probe_finds_minutes_and_customers_that_are_numbers() {
    let control = Control::dressed(1, None, shape("fastapi")).await.unwrap();
    let dialect = probed(&control, None).await.dialect;
    assert_eq!((dialect.send.ttl.as_str(), dialect.send.ttl_unit), ("ttl_minutes", Unit::FractionalMinutes));
    assert!(dialect.send.customer_as_number && !dialect.send.item_as_text);
    assert!(!dialect.behaviour.lapse_frees_at_once, "its own sweeper was taken for the deadline");
}

#[tokio::test]
async fn probe_compares_no_number_that_counts_what_is_sold() {
    let control = Control::dressed(1, None, shape("optimistic")).await.unwrap();
    assert_eq!(probed(&control, None).await.dialect.read.held.as_deref(), Some(""));
}

#[tokio::test]
async fn probe_believes_a_dialect_file() {
    let control = Control::start(1, None).await.unwrap();
    let probed = probed(&control, Some("[send]\nttl = \"\"\n[read]\nheld = \"\"")).await;
    assert!(!probed.dialect.short_deadlines());
    assert_eq!(probed.dialect.read.held.as_deref(), Some(""));
}

#[rstest]
#[case("express")]
#[case("nest")]
#[case("spring")]
#[case("terse")]
#[case("cron")]
#[case("optimistic")]
#[case("guarded")]
#[case("fastapi")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correct_foreign_service_holds(#[case] name: &str) {
    let result = raced(name, None).await;
    let told =
        result.scenarios.iter().filter_map(|row| row.failure.as_ref()).map(ToString::to_string).collect::<String>();
    assert_eq!(result.verdict, Verdict::Held, "{told}\n{result:#?}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_foreign_service_is_broken(
    #[values("express", "nest", "spring", "terse", "cron", "optimistic", "serializable", "guarded", "fastapi")]
    name: &str,
    #[values(Fault::CheckThenTake, Fault::DoubleRelease, Fault::CancelAfterConfirm)] fault: Fault,
) {
    let result = raced(name, Some(fault)).await;
    assert_eq!(result.verdict, Verdict::Broken, "{result:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_answers_500_where_reservations_meet_is_broken_by_that_alone() {
    let result = raced("serializable", None).await;
    let told: Vec<&str> =
        result.scenarios.iter().filter_map(|row| row.failure.as_ref()).map(|told| told.what.as_str()).collect();
    assert!(!told.is_empty() && told.iter().all(|what| what.ends_with("were answered 500")), "{told:?}");
}

/// The defaults, with those of the table that need not be there.
fn defaults() -> serde_json::Value {
    serde_json::to_value(Dialect { database: Some(Mapping::default()), ..Dialect::default() }).unwrap()
}

/// Every key of a dialect, as `table.key`.
fn keys() -> Vec<(String, String)> {
    let dialect = defaults();
    let tables = dialect.as_object().unwrap().clone().into_iter();
    tables
        .flat_map(|(table, keys)| {
            keys.as_object().unwrap().keys().map(|key| (table.clone(), key.clone())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn schema_names_every_key_and_no_other() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../docs/dialect.schema.json")).unwrap();
    let tables = schema["properties"].as_object().unwrap();
    let told = tables.iter().flat_map(|(table, of)| {
        of["properties"].as_object().unwrap().keys().map(|key| (table.clone(), key.clone())).collect::<Vec<_>>()
    });
    let (mut told, mut keys): (Vec<_>, Vec<_>) = (told.collect(), keys());
    told.sort();
    keys.sort();
    assert_eq!(told, keys);
    for (table, key) in keys {
        let default = defaults()[&table][&key].clone();
        let told = schema["properties"][&table]["properties"][&key].get("default").cloned().unwrap_or_default();
        assert_eq!(told, default, "{table}.{key}");
    }
}

#[test]
fn readme_names_every_key_and_its_dialect_is_the_default() {
    let readme = include_str!("../README.md");
    let (_, section) = readme.split_once("```toml\n").unwrap();
    let (toml, _) = section.split_once("```").unwrap();
    for (table, key) in keys() {
        assert!(
            toml.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == key),
            "{table}.{key}"
        );
    }
    assert_eq!(Dialect::default().overridden(toml).unwrap(), Dialect::default());
}

#[test]
fn a_saved_dialect_is_read_back_as_it_was() {
    let file = "[send]\nttl = \"expires_at\"\nttl_unit = \"instant\"\nitem_extra = { sku = \"{unique}\", price = 100 }\n[behaviour]\nquantity_max = 4";
    let dialect = Dialect::default().overridden(file).unwrap();
    assert_eq!(Dialect::default().overridden(&dialect.to_toml().unwrap()).unwrap(), dialect);
}

#[tokio::test]
async fn nothing_is_learnt_where_a_dialect_file_is_given() {
    let control = Control::dressed(1, Some(Fault::DoubleRelease), shape("cron")).await.unwrap();
    let given = Dialect::default().overridden("[behaviour]\nexact_reasons = false").unwrap();
    assert_eq!(probed(&control, Some("[behaviour]\nexact_reasons = false")).await.dialect, given);
}
