//! `docs/history.schema.json` against what is read and what is written: every line of the corpus, an event of every kind
//! from the recorder, the example of `docs/history.md`, and lines that are no events.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{fs, path::Path};

use jsonschema::Validator;
use serde_json::{Value, json};
use stockhold_harness::internal::{
    check::{Limits, Verdict, check_file},
    history::{
        Answer, Call, Contract, Event, FORMAT, ItemView, Nemesis, Outcome, Reason, Recorder, Request, ReservationView,
        Status, Struck, SweepView, read,
    },
};

fn place(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(&fs::read_to_string(place("docs/history.schema.json")).unwrap()).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Every line that is no event, and why.
fn wrong(schema: &Validator, name: &str, lines: &str) -> Vec<String> {
    let line = |(index, line): (usize, &str)| {
        let line: Value = serde_json::from_str(line).unwrap();
        let error = schema.validate(&line).err()?;
        Some(format!("{name}, line {}: {error}", index + 1))
    };
    lines.lines().enumerate().filter_map(line).collect()
}

#[test]
fn every_line_of_the_corpus_fits_the_schema() {
    let schema = schema();
    let mut found = Vec::new();
    for verdict in ["held", "broken", "undecided"] {
        for entry in fs::read_dir(place("tests/histories").join(verdict)).unwrap() {
            let path = entry.unwrap().path();
            found.extend(wrong(&schema, &path.display().to_string(), &fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn calls() -> Vec<Call> {
    let (item, reservation, customer) = ("i".to_owned(), "r".to_owned(), "c".to_owned());
    let key = Some("k".to_owned());
    let ok_item = || Outcome::Ok(Answer::Item(ItemView { available: Some(1), ..ItemView::default() }));
    let ok_reservation = || {
        let view = ReservationView { status: Some(Status::Pending), ttl_ms: Some(1), ..ReservationView::default() };
        Outcome::Ok(Answer::Reservation(view))
    };
    let lost = || Outcome::Unknown("timeout".to_owned());
    let reserve =
        |ttl_ms, key| Request::Reserve { item: item.clone(), customer: customer.clone(), quantity: 1, ttl_ms, key };
    let odd = Request::ReserveOdd { item: item.clone(), customer: customer.clone(), quantity: json!(1.5) };
    let all = vec![
        (Request::CreateItem { name: "n".to_owned(), total: 1, key: key.clone() }, ok_item()),
        (Request::GetItem { item: item.clone() }, ok_item()),
        (reserve(None, None), ok_reservation()),
        (reserve(Some(5), key), lost()),
        (odd, Outcome::Refused(Reason::Invalid)),
        (Request::GetReservation { reservation: reservation.clone() }, ok_reservation()),
        (Request::Confirm { reservation: reservation.clone() }, Outcome::Refused(Reason::NotPending)),
        (Request::ConfirmLate { reservation: reservation.clone() }, lost()),
        (Request::Cancel { reservation }, ok_reservation()),
        (Request::Expire, Outcome::Ok(Answer::Sweep(SweepView::default()))),
    ];
    let call = |(id, (request, outcome)): (usize, (Request, Outcome))| Call {
        id: id as u64,
        client: 0,
        instance: 0,
        item: (request != Request::Expire).then(|| item.clone()),
        request,
        invoked_ns: 1,
        returned_ns: (!outcome.is_unknown()).then_some(2),
        status: None,
        outcome,
    };
    all.into_iter().enumerate().map(call).collect()
}

#[test]
fn every_kind_of_event_that_is_recorded_fits_the_schema() {
    let path = std::env::temp_dir().join(format!("stockhold-schema-{}.jsonl", std::process::id()));
    let recorder = Recorder::start(Some(&path)).unwrap();
    let contract = Contract {
        repeated_confirm_is_ok: true,
        repeated_cancel_is_ok: true,
        lapse_frees_at_once: true,
        exact_reasons: true,
        ttl_is_honoured: true,
        rounding_ns: 0,
    };
    let instances = vec!["http://a/".to_owned()];
    recorder.record(&Event::Run { format: FORMAT, run: "r".to_owned(), seed: u64::MAX, instances, contract });
    recorder.record(&Event::Round { scenario: "burst".to_owned(), round: 1 });
    calls().into_iter().for_each(|call| recorder.record(&Event::Call(Box::new(call))));
    recorder.record(&Event::Deadline { reservation: "r".to_owned(), first_ns: 1, last_ns: 2 });
    let struck = |fault, instance| Event::Nemesis(Struck { fault, instance, from_ns: 1, to_ns: 2 });
    recorder.record(&struck(Nemesis::Kill, Some(1)));
    recorder.record(&struck(Nemesis::Delay, None));
    recorder.record(&Event::Resolved { call: 3, happened: true, evidence: "a repeat".to_owned() });
    recorder.finish().unwrap();
    let lines = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(lines.lines().count(), 2 + calls().len() + 5);
    assert_eq!(wrong(&schema(), "recorded", &lines), Vec::<String>::new());
}

#[test]
fn the_example_in_the_prose_is_a_history_that_held() {
    let prose = fs::read_to_string(place("docs/history.md")).unwrap();
    let example = prose.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(wrong(&schema(), "example", example), Vec::<String>::new());
    let file = read(example.as_bytes()).unwrap();
    assert_eq!(check_file(&file, Limits::default()).verdict, Verdict::Held);
}

#[test]
fn what_is_no_event_does_not_fit() {
    let schema = schema();
    let confirm = json!({"event": "call", "id": 1, "client": 0, "instance": 0, "concerns": "i", "verb": "confirm",
        "reservation": "r", "invoked_ns": 1, "returned_ns": 2, "status": 200, "outcome": {"ok": {"reservation": {}}}});
    assert!(schema.is_valid(&confirm));
    for (field, value) in [
        ("verb", json!("buy")),
        ("outcome", json!({"ok": {"item": {}}})),
        ("outcome", json!({"refused": "sold_out"})),
        ("returned_ns", Value::Null),
        ("quantity", json!(1)),
        ("invoked_ns", json!(-1)),
    ] {
        let mut line = confirm.clone();
        line[field] = value.clone();
        assert!(!schema.is_valid(&line), "{field}: {value}");
    }
}
