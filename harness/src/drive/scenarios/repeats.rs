//! What the two races of a call with itself share: the stage, and the expectation that it takes effect once.

use crate::{
    drive::{findings::Halt, round::Round},
    history::{Call, Reason, Request, told},
};

/// How often each call is made at once.
const TIMES: usize = 3;

/// Sends each call three times at once; the three stand side by side in the result.
pub(super) async fn race(
    round: &mut Round,
    holds: usize,
    others: usize,
    request: impl Fn(String) -> Request,
) -> Result<Vec<Call>, Halt> {
    let quantities: Vec<i64> = (0..holds).map(|_| round.units(3)).collect();
    round.create_item(quantities.iter().sum::<i64>() + others as i64).await?;
    round.hold(&vec![(1, None); others]).await?;
    let wanted: Vec<(i64, Option<u64>)> = quantities.into_iter().map(|quantity| (quantity, None)).collect();
    let holds = round.hold(&wanted).await?;
    let requests = holds.iter().flat_map(|hold| (0..TIMES).map(|_| request(hold.id.clone()))).collect();
    round.race(requests, None).await
}

/// All of the three are answered as the first, or all but one are refused.
pub(super) fn expect(round: &mut Round, calls: &[Call], repeat_is_ok: bool, reason: Reason) {
    let exact = round.target().dialect().behaviour.exact_reasons;
    for group in calls.chunks(TIMES) {
        if group.iter().any(|call| call.outcome.is_unknown()) {
            continue;
        }
        let done = group.iter().filter(|call| call.outcome.is_ok()).count();
        let refused =
            group.iter().filter(|call| call.outcome.is_refused_for(reason) || !exact && !call.outcome.is_ok()).count();
        let others_refused = done >= 1 && done + refused == TIMES;
        // Whether the one who came second is told so or told yes is manners, where the contract's own words do not bind.
        let met = if repeat_is_ok { done == TIMES || !exact && others_refused } else { done == 1 && others_refused };
        let answers = || group.iter().map(|call| told(&call.outcome, call.status)).collect::<Vec<_>>().join(", ");
        let verb = group.first().map_or("", |call| call.request.verb());
        round.expect(
            met,
            || format!("one hold's {verb}, sent {TIMES} times at once, was answered {}", answers()),
            group,
        );
    }
}
