//! Ten holds are each confirmed and cancelled at the same moment, at different instances. Three further holds live on.
//!
//! ```text
//! hold n |=====| confirm n --> 200          or   409 reservation_cancelled
//!              | cancel n  --> 409 reservation_confirmed   or   200
//!              ^ released together
//! ```
//!
//! Exactly one of the two succeeds, and the other is told why it came too late: a unit is either sold or given back.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Call, Reason, Request, told},
};

const HOLDS: usize = 10;
const OTHERS: usize = 3;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cancel_confirm",
    source: include_str!("cancel_confirm.rs"),
    rounds: 20,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let quantities: Vec<i64> = (0..HOLDS).map(|_| round.units(3)).collect();
    round.create_item(quantities.iter().sum::<i64>() + OTHERS as i64).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let wanted: Vec<(i64, Option<u64>)> = quantities.into_iter().map(|quantity| (quantity, None)).collect();
    let holds = round.hold(&wanted).await?;

    let mut requests = Vec::with_capacity(2 * HOLDS);
    for hold in &holds {
        let mut pair =
            [Request::Confirm { reservation: hold.id.clone() }, Request::Cancel { reservation: hold.id.clone() }];
        round.seed.shuffle(&mut pair);
        requests.extend(pair);
    }
    let calls = round.race(requests, None).await?;

    let exact = round.target().dialect().behaviour.exact_reasons;
    for pair in calls.chunks(2) {
        let contended = |call: &Call| call.outcome.is_refused_for(Reason::Contention);
        if pair.iter().any(|call| call.outcome.is_unknown() || contended(call)) {
            continue;
        }
        let done = pair.iter().filter(|call| call.outcome.is_ok()).count();
        let reasons_agree = pair.iter().all(|call| {
            call.outcome.is_ok()
                || match call.request {
                    Request::Confirm { .. } => call.outcome.is_refused_for(Reason::ReservationCancelled),
                    _ => call.outcome.is_refused_for(Reason::ReservationConfirmed),
                }
        });
        let answers = || {
            pair.iter()
                .map(|call| format!("{} {}", call.request.verb(), told(&call.outcome, call.status)))
                .collect::<Vec<_>>()
        };
        round.expect(
            done == 1 && (reasons_agree || !exact),
            || {
                format!(
                    "a confirm and a cancel of one hold were answered {}: exactly one may succeed",
                    answers().join(", ")
                )
            },
            pair,
        );
    }
    round.contended(&calls);
    Ok(())
}
