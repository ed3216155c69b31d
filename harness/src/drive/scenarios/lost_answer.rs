//! Two customers reserve, each under an `Idempotency-Key` of their own, never hear the answer, and ask again, four times at
//! once and at every instance. Three further holds live on, and no unit is left beyond the two orders.
//!
//! ```text
//! reserve 2, key k --> (connection closed before the answer)
//!                      | reserve 2, key k --> 201, the same id
//!                      | reserve 2, key k --> 201, the same id
//!                      | reserve 2, key k --> 201, the same id
//!                      | reserve 2, key k --> 201, the same id
//!                      ^ released together, with those of the other customer
//! ```
//!
//! However often it was asked, there is one reservation for each key, and two units are held. Its confirm is lost and
//! repeated too, and where an item is created under a key, so is the item.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Call, Reason, Request, told},
};

const OTHERS: usize = 3;
const ORDERS: usize = 2;
const TIMES: usize = 4;
/// A repeat may be told that the first one is still under way.
const ATTEMPTS_MAX: usize = 40;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "lost_answer",
    source: include_str!("lost_answer.rs"),
    rounds: 8,
    needs: Needs { key: true, ..Needs::NOTHING },
    exact: true,
    must_see: &[],
    overlap_min: 0,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    // The orders take the last units: a repeat that is not recognised finds none.
    let two = round.target().dialect().quantity(2);
    round.create_item(OTHERS as i64 + two * ORDERS as i64).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let orders: Vec<Request> = (0..ORDERS).map(|_| order(round)).collect();
    for (instance, request) in orders.iter().enumerate() {
        round.abandon(instance, request.clone()).await;
    }
    let requests = orders.iter().flat_map(|request| vec![request.clone(); TIMES]).collect();
    let calls = round.race(requests, None).await?;
    for (request, calls) in orders.iter().zip(calls.chunks(TIMES)) {
        if let Some(reservation) = once(round, request, calls.to_vec()).await {
            confirm(round, reservation).await;
        }
    }
    if round.target().dialect().behaviour.item_idempotency_key {
        item_once(round).await;
    }
    Ok(())
}

fn order(round: &mut Round) -> Request {
    let two = round.target().dialect().quantity(2);
    let mut request = round.reserve(two, None);
    if let Request::Reserve { key, customer, .. } = &mut request {
        *key = Some(format!("harness-{}-{}", round.run(), customer));
    }
    request
}

/// The one id that repeats of one order were answered with.
async fn once(round: &mut Round, request: &Request, mut calls: Vec<Call>) -> Option<String> {
    for attempt in 0..ATTEMPTS_MAX {
        // Where the orders met, all of one may have failed: whoever has a key asks again.
        let answered = calls.iter().any(|call| !is_waiting(call) && !call.outcome.is_unknown());
        if answered || calls.iter().all(|call| call.status.is_none()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        calls.push(round.call(attempt, request.clone()).await);
    }
    let ids: BTreeSet<String> = calls.iter().filter_map(|call| call.outcome.reservation()?.id.clone()).collect();
    let unknown = calls.iter().all(|call| call.outcome.is_unknown());
    round.expect(
        ids.len() == 1 || unknown,
        || format!("one reservation, repeated under one key, has {} ids", ids.len()),
        &calls,
    );
    for call in &calls {
        let met = call.outcome.is_ok() || call.outcome.is_unknown() || is_waiting(call);
        let answer = told(&call.outcome, call.status);
        round.expect(met, || format!("a repeat under the same key was answered {answer}"), std::slice::from_ref(call));
    }
    ids.into_iter().next()
}

async fn confirm(round: &mut Round, reservation: String) {
    let confirm = Request::Confirm { reservation };
    round.abandon(1, confirm.clone()).await;
    let call = round.call(0, confirm).await;
    // Some only say that it is no longer pending.
    let exact = round.target().dialect().behaviour.exact_reasons;
    let repeated = [Reason::ReservationConfirmed, Reason::NotPending].iter().any(|reason| call.outcome.is_refused_for(*reason))
            // Some services forget a reservation that has ended.
            || !exact && call.outcome.is_refused_for(Reason::NotFound);
    // The repeat may meet its first, which a service without exact reasons may refuse.
    let behaviour = &round.target().dialect().behaviour;
    let met = call.outcome.is_ok() || repeated && !(behaviour.repeated_confirm_is_ok && behaviour.exact_reasons);
    let answer = told(&call.outcome, call.status);
    round.expect(met, || format!("a confirm repeated after its answer was lost was answered {answer}"), &[call]);
}

/// An item that is created several times at once under one key is one item.
async fn item_once(round: &mut Round) {
    let name = format!("harness_{}_once_{}", round.run(), round.number);
    let key = Some(format!("harness-{}-item-{}", round.run(), round.number));
    let calls = round.burst_aside(vec![Request::CreateItem { name, total: 1, key }; TIMES]).await;
    let ids: BTreeSet<String> = calls.iter().filter_map(|call| call.outcome.item()?.id.clone()).collect();
    // Who is told that the first call is still under way got no second item.
    round.expect(ids.len() <= 1, || format!("one item, created under one key, has {} ids", ids.len()), &calls);
}

fn is_waiting(call: &Call) -> bool {
    call.outcome.is_refused_for(Reason::Contention)
}
