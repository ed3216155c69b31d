//! A customer reserves under an `Idempotency-Key`, never hears the answer, and asks again, four times at once and at
//! every instance. Three further holds live on.
//!
//! ```text
//! reserve 2, key k --> (connection closed before the answer)
//!                      | reserve 2, key k --> 201, the same id
//!                      | reserve 2, key k --> 201, the same id
//!                      | reserve 2, key k --> 201, the same id
//!                      | reserve 2, key k --> 201, the same id
//!                      ^ released together
//! ```
//!
//! However often it was asked, there is one reservation, and two units are held. Its confirm is lost and repeated too.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    history::{Call, Reason, Request},
    round::{Halt, Round, told},
    scenario::Scenario,
};

const OTHERS: usize = 3;
const TIMES: usize = 4;
/// A repeat may be told that the first one is still under way.
const ATTEMPTS_MAX: usize = 40;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "lost_answer",
    source: include_str!("lost_answer.rs"),
    rounds: 8,
    needs_deadline: false,
    needs_key: true,
    must_see: &[],
    overlap_min: 0,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(OTHERS as i64 + 4).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let mut request = round.reserve(2, None);
    if let Request::Reserve { key, customer, .. } = &mut request {
        *key = Some(format!("harness-{}-{}", round.run(), customer));
    }
    round.abandon(0, request.clone()).await;
    let mut calls = round.race(vec![request.clone(); TIMES], None).await?;
    for attempt in 0..ATTEMPTS_MAX {
        let waiting = calls.iter().any(|call| call.outcome.is_ok()) || !calls.iter().any(is_waiting);
        if waiting {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        calls.push(round.call(attempt, request.clone()).await);
    }
    let ids: BTreeSet<String> = calls.iter().filter_map(|call| call.outcome.reservation()?.id.clone()).collect();
    round.expect(ids.len() == 1, || format!("one reservation, repeated under one key, has {} ids", ids.len()), &calls);
    for call in &calls {
        let met = call.outcome.is_ok() || call.outcome.is_unknown() || is_waiting(call);
        let answer = told(&call.outcome, call.status);
        round.expect(met, || format!("a repeat under the same key was answered {answer}"), std::slice::from_ref(call));
    }
    let Some(reservation) = ids.into_iter().next() else { return Ok(()) };
    let confirm = Request::Confirm { reservation };
    round.abandon(1, confirm.clone()).await;
    let call = round.call(0, confirm).await;
    // Some only say that it is no longer pending.
    let repeated =
        [Reason::ReservationConfirmed, Reason::NotPending].iter().any(|reason| call.outcome.is_refused_for(*reason));
    let met = call.outcome.is_ok() || repeated && !round.target().dialect().behaviour.repeated_confirm_is_ok;
    let answer = told(&call.outcome, call.status);
    round.expect(met, || format!("a confirm repeated after its answer was lost was answered {answer}"), &[call]);
    Ok(())
}

fn is_waiting(call: &Call) -> bool {
    call.outcome.is_refused_for(Reason::Contention)
}
