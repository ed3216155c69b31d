//! The batch statements by themselves, one statement a batch: their outcomes are those of the same calls made one by one,
//! and what holds for a lone statement that waited holds for them.

use std::collections::HashMap;

use rstest::rstest;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row};
use uuid::Uuid;

use crate::common::{Fixture, Gate, id_in_bucket_of, run, send};

const RESERVE_BATCH: &str = include_str!("../../src/ops/reserve_batch.sql");
const SETTLE_BATCH: &str = include_str!("../../src/ops/settle_batch.sql");

/// An outcome, and how many units were available where that was the reason.
type Outcome = (String, Option<i64>);

async fn reserve_batch(connection: &mut PgConnection, item_id: Uuid, calls: &[Value]) -> Vec<Outcome> {
    let query = sqlx::query(RESERVE_BATCH).bind(item_id).bind(json!(calls)).bind(bucket(item_id));
    let rows = connection.fetch_all(query).await.unwrap();
    let outcome = |row: &sqlx::postgres::PgRow| {
        let outcome: String = row.get("outcome");
        let available = (outcome == "insufficient_availability").then(|| row.get("available_quantity"));
        (outcome, available)
    };
    rows.iter().map(outcome).collect()
}

async fn settle_batch(connection: &mut PgConnection, calls: &[(Uuid, &str)]) -> Vec<String> {
    let calls: Vec<_> = calls.iter().map(|(id, verb)| json!({ "reservation_id": id, "verb": verb })).collect();
    let rows = connection.fetch_all(sqlx::query(SETTLE_BATCH).bind(json!(calls)).bind(0)).await.unwrap();
    rows.iter().map(|row| row.get("outcome")).collect()
}

fn bucket(id: Uuid) -> i32 {
    u16::from_be_bytes([id.as_bytes()[14], id.as_bytes()[15]]).into()
}

fn call(item_id: Uuid, quantity: i64) -> Value {
    call_with_id(id_in_bucket_of(item_id), quantity)
}

fn call_with_id(id: Uuid, quantity: i64) -> Value {
    json!({ "reservation_id": id, "customer_id": "customer", "quantity": quantity, "ttl_seconds": 600 })
}

fn refused(available: i64) -> Outcome {
    ("insufficient_availability".to_owned(), Some(available))
}

fn plain(outcome: &str) -> Outcome {
    (outcome.to_owned(), None)
}

/// One item as a pure function of the calls made so far, one by one.
#[derive(Default)]
struct Model {
    free: i64,
    holds: HashMap<Uuid, Hold>,
    ids_by_key: HashMap<String, (Uuid, String)>,
}

struct Hold {
    quantity: i64,
    /// `live`, or how it ended.
    state: &'static str,
}

impl Model {
    fn reserve(&mut self, call: &Value) -> Outcome {
        let id: Uuid = serde_json::from_value(call["reservation_id"].clone()).unwrap();
        let quantity = call["quantity"].as_i64().unwrap();
        if self.holds.contains_key(&id) {
            return plain("reserved");
        }
        let key = call["idempotency_key"].as_str().map(str::to_owned);
        let fingerprint = call["idempotency_fingerprint"].as_str().unwrap_or_default().to_owned();
        if let Some((_, known)) = key.as_ref().and_then(|key| self.ids_by_key.get(key)) {
            return plain(if *known == fingerprint { "replayed" } else { "key_reused" });
        }
        if quantity > self.free {
            return refused(self.free);
        }
        self.free -= quantity;
        self.holds.insert(id, Hold { quantity, state: "live" });
        if let Some(key) = key {
            self.ids_by_key.insert(key, (id, fingerprint));
        }
        plain("reserved")
    }

    fn settle(&mut self, id: Uuid, verb: &str) -> String {
        let Some(hold) = self.holds.get_mut(&id) else { return "not_found".to_owned() };
        match (hold.state, verb) {
            ("live", "confirm") => {
                hold.state = "confirmed";
                "confirmed".to_owned()
            }
            ("live", _) => {
                hold.state = "cancelled";
                self.free += hold.quantity;
                "cancelled".to_owned()
            }
            // Either of the two may record the expiry.
            ("expired", _) => "expired".to_owned(),
            (state, _) => format!("already_{state}"),
        }
    }

    fn lapse(&mut self, id: Uuid) {
        let hold = self.holds.get_mut(&id).unwrap();
        if hold.state == "live" {
            hold.state = "expired";
            self.free += hold.quantity;
        }
    }
}

/// Random batches on small items: keys and ids that come again, holds that lapse between two batches, unknown ids.
#[tokio::test]
async fn batches_end_as_the_same_calls_one_by_one() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    let mut random = fastrand::Rng::with_seed(20);
    let mut counts: HashMap<String, usize> = HashMap::new();
    for _ in 0..500 {
        let total = random.i64(1..25);
        let item_id = fixture.item(total).await.id;
        let mut model = Model { free: total, ..Model::default() };
        let mut made: Vec<Value> = Vec::new();
        for _ in 0..5 {
            let calls = random_calls(&mut random, item_id, &made);
            let expected: Vec<_> = calls.iter().map(|call| model.reserve(call)).collect();
            let outcomes = reserve_batch(&mut connection, item_id, &calls).await;
            assert_eq!(outcomes, expected, "{calls:#?}");
            made.extend(calls);
            let ids: Vec<Uuid> = model.holds.keys().copied().filter(|_| random.u8(0..3) == 0).collect();
            run(&mut connection, &lapse(&ids)).await;
            ids.into_iter().for_each(|id| model.lapse(id));

            let mut calls: Vec<_> =
                model.holds.keys().map(|id| (*id, *random.choice(&["confirm", "cancel"]).unwrap())).collect();
            calls.retain(|_| random.u8(0..3) == 0);
            calls.extend(calls.clone().into_iter().filter(|_| random.u8(0..4) == 0).map(|(id, _)| (id, "cancel")));
            calls.push((Uuid::now_v7(), "confirm"));
            random.shuffle(&mut calls);
            let expected: Vec<_> = calls.iter().map(|(id, verb)| model.settle(*id, verb)).collect();
            let settled: Vec<_> = settle_batch(&mut connection, &calls).await;
            let settled: Vec<_> = settled.iter().map(|word| word.replace("already_expired", "expired")).collect();
            assert_eq!(settled, expected, "{calls:?}");
            outcomes
                .into_iter()
                .map(|(outcome, _)| outcome)
                .chain(settled)
                .for_each(|word| *counts.entry(word).or_default() += 1);
        }
        fixture.check_books(item_id).await;
        let (_, confirmed, _) = fixture.counters(item_id).await;
        let sold = model.holds.values().filter(|hold| hold.state == "confirmed").map(|hold| hold.quantity).sum::<i64>();
        assert_eq!(confirmed, sold);
    }
    for word in [
        "reserved",
        "replayed",
        "key_reused",
        "insufficient_availability",
        "confirmed",
        "cancelled",
        "expired",
        "already_confirmed",
        "already_cancelled",
        "not_found",
    ] {
        assert!(counts.get(word).is_some_and(|count| *count > 50), "too few were {word}: {counts:?}");
    }
    let unknown = reserve_batch(&mut connection, Uuid::now_v7(), &[call(Uuid::nil(), 1), call(Uuid::nil(), 2)]).await;
    assert_eq!(unknown, [plain("item_not_found"), plain("item_not_found")]);
}

fn random_calls(random: &mut fastrand::Rng, item_id: Uuid, made: &[Value]) -> Vec<Value> {
    let mut calls: Vec<Value> = Vec::new();
    for _ in 0..random.usize(1..10) {
        let mut new = call(item_id, random.i64(1..8));
        match random.u8(0..6) {
            0 => {
                let key = format!("{item_id}-{}", random.u8(0..8));
                if calls.iter().all(|call| call["idempotency_key"] != json!(key)) {
                    new["idempotency_key"] = json!(key);
                    new["idempotency_fingerprint"] = json!(format!("\\x0{}", random.u8(0..2)));
                }
            }
            // As after a broken connection: a call of an earlier batch, made or refused, under its id.
            1 => {
                if let Some(repeat) = random.choice(made)
                    && !calls.contains(repeat)
                    && repeat["idempotency_key"].is_null()
                {
                    new = repeat.clone();
                }
            }
            _ => {}
        }
        calls.push(new);
    }
    calls
}

/// Holds whose deadline has passed, without the wait.
fn lapse(ids: &[Uuid]) -> String {
    let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
    format!(
        "update stockhold.reservations
         set created_at = created_at - interval '1 hour', expires_at = created_at - interval '1 minute'
         where status = 'PENDING' and id = any ('{{{}}}')",
        ids.join(",")
    )
}

#[tokio::test]
async fn a_batch_expires_only_what_it_needs_and_no_more_than_200() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    let item = fixture.item(500).await;
    let ids: Vec<_> = (0..500).map(|_| id_in_bucket_of(item.id)).collect();
    let calls: Vec<_> = ids.iter().map(|id| call_with_id(*id, 1)).collect();
    reserve_batch(&mut connection, item.id, &calls).await;
    run(&mut connection, &lapse(&ids)).await;
    let outcomes = reserve_batch(&mut connection, item.id, &[call(item.id, 1), call(item.id, 2)]).await;
    assert_eq!(outcomes, [plain("reserved"), plain("reserved")]);
    let count = |kinds: Vec<String>| kinds.iter().filter(|kind| *kind == "EXPIRED").count();
    assert_eq!(count(fixture.kinds(item.id).await), 3);
    let outcomes =
        reserve_batch(&mut connection, item.id, &[call(item.id, 150), call(item.id, 150), call(item.id, 50)]).await;
    assert_eq!(outcomes, [plain("reserved"), plain("moved"), plain("reserved")]);
    assert_eq!(count(fixture.kinds(item.id).await), 203);
    // 297 are left: too many to see at once, and then few enough to say what there is.
    let calls = [call(item.id, 290), call(item.id, 290)];
    assert_eq!(reserve_batch(&mut connection, item.id, &calls).await, [plain("moved"), plain("moved")]);
    assert_eq!(count(fixture.kinds(item.id).await), 403);
    assert_eq!(reserve_batch(&mut connection, item.id, &calls).await, [plain("reserved"), refused(7)]);
    fixture.check_books(item.id).await;
}

/// Two batches that make the same keys, for two items, wait for each other in one direction.
#[tokio::test]
async fn a_batch_makes_its_keys_in_one_order() {
    let fixture = Fixture::new().await;
    let mut connection = fixture.connection().await;
    let item = fixture.item(20).await;
    let keyed = |key: &str| {
        let mut call = call(item.id, 1);
        call["idempotency_key"] = json!(key);
        call["idempotency_fingerprint"] = json!("\\x00");
        call
    };
    reserve_batch(&mut connection, item.id, &["c", "e", "a", "d", "b"].map(keyed)).await;
    let sql = "select idempotency_key from stockhold.reservations order by ctid";
    let keys: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    assert_eq!(keys, ["a", "b", "c", "d", "e"]);
}

/// Behind whoever is there already, and not at the row.
#[rstest]
#[case::reserves(true)]
#[case::settlements(false)]
#[tokio::test]
async fn a_batch_waits_in_the_queue(#[case] reserves: bool) {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let hold = fixture.hold(item.id, 1, 600.0).await;
    let sql = format!("select pg_advisory_xact_lock(hashtextextended('{}', 0))", item.id);
    let mut gate = Gate::close(&fixture, &sql).await;
    let mut connection = fixture.connection().await;
    let batch = send(async move {
        if reserves {
            reserve_batch(&mut connection, item.id, &[call(item.id, 1), call(item.id, 2)]).await;
        } else {
            settle_batch(&mut connection, &[(hold.id, "confirm")]).await;
        }
    });
    gate.wait_for(1).await;
    gate.run(&format!("select from stockhold.items where id = '{}' for update nowait", item.id)).await;
    gate.open().await;
    batch.await.unwrap();
    fixture.check_books(item.id).await;
}

/// Sends a batch that has to wait at a gate, with a connection of its own.
async fn send_batch(fixture: &Fixture, item_id: Uuid, calls: Vec<Value>) -> tokio::task::JoinHandle<Vec<Outcome>> {
    let mut connection = fixture.connection().await;
    send(async move { reserve_batch(&mut connection, item_id, &calls).await })
}

#[tokio::test]
async fn a_batch_that_waited_shares_out_what_the_locked_row_has() {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let batch =
        send_batch(&fixture, item.id, vec![call(item.id, 4), call(item.id, 4), call(item.id, 1), call(item.id, 1)])
            .await;
    gate.wait_for(1).await;
    gate.make_hold(item.id, 4, 600.0).await;
    gate.open().await;
    // What was refused may be run again, for its snapshot is older than the row.
    assert_eq!(batch.await.unwrap(), [plain("reserved"), plain("moved"), plain("reserved"), plain("reserved")]);
    assert_eq!(fixture.counters(item.id).await, (10, 0, 5));
    fixture.check_books(item.id).await;
}

/// FACTS row 19.
#[tokio::test]
async fn a_batch_that_waited_refuses_nothing_for_a_hold_that_was_made_and_lapsed_meanwhile() {
    let fixture = Fixture::new().await;
    let item = fixture.item(2).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let calls = vec![call(item.id, 1), call(item.id, 1)];
    let batch = send_batch(&fixture, item.id, calls.clone()).await;
    gate.wait_for(1).await;
    gate.make_hold(item.id, 2, 0.01).await;
    gate.sleep(0.05).await;
    gate.open().await;
    assert_eq!(batch.await.unwrap(), [plain("moved"), plain("moved")]);
    let outcomes = reserve_batch(&mut fixture.connection().await, item.id, &calls).await;
    assert_eq!(outcomes, [plain("reserved"), plain("reserved")]);
    fixture.check_books(item.id).await;
}

#[rstest]
#[case::swept(true)]
#[case::given_longer(false)]
#[tokio::test]
async fn a_batch_that_waited_does_not_expire_a_hold_that_was(#[case] swept: bool) {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let lapsed = fixture.hold(item.id, 2, 0.01).await;
    fixture.hold(item.id, 3, 600.0).await;
    fixture.wait_until_lapsed(&lapsed).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let batch = send_batch(&fixture, item.id, vec![call(item.id, 1), call(item.id, 1)]).await;
    gate.wait_for(1).await;
    if swept {
        // And its units were taken again.
        gate.end_hold(&lapsed, "EXPIRED").await;
        gate.make_hold(item.id, 2, 600.0).await;
    } else {
        let sql = "update stockhold.reservations set expires_at = clock_timestamp() + interval '1 hour' where id =";
        gate.run(&format!("{sql} '{}'", lapsed.id)).await;
    }
    gate.open().await;
    let outcome = if swept { plain("moved") } else { refused(0) };
    assert_eq!(batch.await.unwrap(), [outcome.clone(), outcome]);
    assert_eq!(fixture.counters(item.id).await.0, 5);
    fixture.check_books(item.id).await;
}

#[tokio::test]
async fn a_batch_that_waited_counts_its_deadlines_from_the_end_of_the_wait() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let batch = send_batch(&fixture, item.id, vec![call(item.id, 1), call(item.id, 1)]).await;
    gate.wait_for(1).await;
    gate.sleep(0.2).await;
    let other = gate.make_hold(item.id, 1, 600.0).await;
    gate.open().await;
    batch.await.unwrap();
    let sql = "select bool_and(created_at >= other.at) from stockhold.reservations,
                   (select created_at as at from stockhold.reservations where id = $1) as other where item_id = $2";
    let in_order: bool =
        sqlx::query_scalar(sql).bind(other).bind(item.id).fetch_one(&mut fixture.connection().await).await.unwrap();
    assert!(in_order, "a hold is as old as its place in the ledger says");
}

/// A refusal of all that come is silent, and so is a repeat.
#[tokio::test]
async fn a_batch_that_cannot_be_served_waits_for_nobody() {
    let fixture = Fixture::new().await;
    let item = fixture.item(5).await;
    let hold = fixture.hold(item.id, 3, 600.0).await;
    let gate = Gate::close_item(&fixture, item.id).await;
    let calls = [call(item.id, 3), call_with_id(hold.id, 3), call(item.id, 4)];
    let mut connection = fixture.connection().await;
    let outcomes = crate::common::at_once(reserve_batch(&mut connection, item.id, &calls)).await;
    assert_eq!(outcomes, [refused(2), plain("reserved"), refused(2)]);
    gate.open().await;
    assert_eq!(fixture.counters(item.id).await, (3, 0, 2));
}

#[tokio::test]
async fn a_settle_batch_that_waited_sees_how_each_hold_ended_meanwhile() {
    let fixture = Fixture::new().await;
    let item = fixture.item(20).await;
    let mut holds = Vec::new();
    for _ in 0..5 {
        holds.push(fixture.hold(item.id, 2, 600.0).await);
    }
    let mut gate = Gate::close_item(&fixture, item.id).await;
    let calls = [
        (holds[0].id, "confirm"),
        (holds[1].id, "confirm"),
        (holds[2].id, "cancel"),
        (holds[3].id, "cancel"),
        (holds[4].id, "confirm"),
    ];
    let mut connection = fixture.connection().await;
    let batch = send(async move { settle_batch(&mut connection, &calls).await });
    gate.wait_for(1).await;
    gate.end_hold(&holds[0], "CONFIRMED").await;
    gate.end_hold(&holds[1], "CANCELLED").await;
    gate.end_hold(&holds[2], "CONFIRMED").await;
    gate.make_hold(item.id, 3, 600.0).await;
    gate.open().await;
    let expected = ["already_confirmed", "already_cancelled", "already_confirmed", "cancelled", "confirmed"];
    assert_eq!(batch.await.unwrap(), expected);
    assert_eq!(fixture.counters(item.id).await, (3, 6, 12));
    fixture.check_books(item.id).await;
}

/// FACTS rows 14 and 18, at the item and at a hold of its own.
#[rstest]
#[case::at_the_item(false)]
#[case::at_a_hold(true)]
#[tokio::test]
async fn a_settle_batch_that_waited_across_a_deadline_records_the_expiry(#[case] at_hold: bool) {
    let fixture = Fixture::new().await;
    let item = fixture.item(10).await;
    let short = fixture.hold(item.id, 2, 1.0).await;
    let long = fixture.hold(item.id, 2, 600.0).await;
    let mut gate = if at_hold {
        let sql = format!("select from stockhold.reservations where id = '{}' for update", short.id);
        Gate::close(&fixture, &sql).await
    } else {
        Gate::close_item(&fixture, item.id).await
    };
    let calls = [(short.id, "confirm"), (long.id, "confirm"), (short.id, "cancel")];
    let mut connection = fixture.connection().await;
    let batch = send(async move { settle_batch(&mut connection, &calls).await });
    gate.wait_for(1).await;
    fixture.wait_until_lapsed(&short).await;
    gate.open().await;
    assert_eq!(batch.await.unwrap(), ["expired", "confirmed", "already_expired"]);
    assert_eq!(fixture.counters(item.id).await, (0, 2, 5));
    fixture.check_books(item.id).await;
}

/// The items before the holds, all of them; and an ended hold takes no lock.
#[tokio::test]
async fn a_settle_batch_waits_at_the_last_item_and_has_locked_no_hold() {
    let fixture = Fixture::new().await;
    let mut items = [fixture.item(5).await.id, fixture.item(5).await.id, fixture.item(5).await.id];
    items.sort();
    let holds = [fixture.hold(items[0], 1, 600.0).await, fixture.hold(items[2], 1, 600.0).await];
    let ended = fixture.hold(items[1], 1, 600.0).await;
    fixture.inventory.confirm(ended.id, Default::default()).await.unwrap();
    let mut gate = Gate::close_item(&fixture, items[2]).await;
    let calls = [(holds[1].id, "confirm"), (holds[0].id, "confirm"), (ended.id, "confirm")];
    let mut connection = fixture.connection().await;
    let batch = send(async move { settle_batch(&mut connection, &calls).await });
    gate.wait_for(1).await;
    let mut other = fixture.connection().await;
    let free = format!(
        "select from stockhold.reservations where id = any ('{{{},{}}}') for update nowait;
         select from stockhold.items where id = '{}' for update nowait",
        holds[0].id, holds[1].id, items[1]
    );
    run(&mut other, &free).await;
    let taken = format!("select from stockhold.items where id = '{}' for update nowait", items[0]);
    assert!(other.execute(sqlx::raw_sql(AssertSqlSafe(taken))).await.is_err(), "the first item is not locked");
    gate.open().await;
    assert_eq!(batch.await.unwrap(), ["confirmed", "confirmed", "already_confirmed"]);
    for item_id in items {
        fixture.check_books(item_id).await;
    }
}
