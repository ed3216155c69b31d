//! Eight holds reach their deadlines while each is being confirmed, the sweep runs twice, and eight other customers ask
//! for the same units. Three further holds live on: a unit released twice would be one of theirs.
//!
//! ```text
//! hold 1 |==========deadline
//! hold 2 |============deadline          deadlines a few milliseconds apart
//! hold 8 |=======================deadline
//!                         | confirm 1 … confirm 8
//!                         | expire, expire
//!                         | reserve 1 (eight times)
//!                         ^ released together, each round a little earlier or later
//! ```
//!
//! A confirm that is answered 200 keeps its unit for good; one that is refused as expired never gets it back. So
//! confirmed holds and new reservations together never exceed eight. A confirm that leaves after the deadline is never
//! answered 200, and one that is answered before it is never refused.

use std::time::Instant;

use crate::{
    drive::{
        findings::Halt,
        hold::Hold,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Call, Outcome, Reason, Request},
};

const HOLDS: usize = 8;
const OTHERS: usize = 3;
/// Long enough that the stage is set before the first deadline.
const TTL_MS: u64 = 120;
/// Between two deadlines.
const STEP_MS: u64 = 4;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "confirm_expire",
    source: include_str!("confirm_expire.rs"),
    rounds: 20,
    needs: Needs { deadline: true, ..Needs::NOTHING },
    exact: true,
    must_see: &["confirmed in time", "refused as expired"],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let others = round.others(OTHERS);
    round.create_item((HOLDS + others) as i64).await?;
    round.hold(&vec![(1, None); others]).await?;
    let wanted: Vec<(i64, Option<u64>)> =
        (0..HOLDS as u64).map(|step| (1, Some(round.ttl_ms(TTL_MS + step * STEP_MS)))).collect();
    let holds = round.hold(&wanted).await?;

    let moment = moment(round, &holds);
    let mut requests: Vec<Request> =
        holds.iter().map(|hold| Request::Confirm { reservation: hold.id.clone() }).collect();
    requests.extend([Request::Expire, Request::Expire]);
    requests.extend((0..HOLDS).map(|_| round.reserve(1, None)));
    round.seed.shuffle(&mut requests);
    let calls = round.race(requests, Some(moment)).await?;

    let confirmed = calls.iter().filter(|call| call.request.verb() == "confirm" && call.outcome.is_ok()).count();
    let reserved = calls.iter().filter(|call| call.request.verb() == "reserve" && call.outcome.is_ok()).count();
    if confirmed > 0 {
        round.saw("confirmed in time");
    }
    // Nothing else than a deadline can end these holds, whether or not the refusal says so.
    let exact = round.target().dialect().behaviour.exact_reasons;
    let untold = |call: &Call| {
        let nothing = [Reason::Contention, Reason::Unreachable, Reason::Unauthorized];
        matches!(call.outcome, Outcome::Refused(reason) if !nothing.contains(&reason))
    };
    if calls
        .iter()
        .filter(|call| call.request.verb() == "confirm")
        .any(|call| call.outcome.is_refused_for(Reason::ReservationExpired) || !exact && untold(call))
    {
        round.saw("refused as expired");
    }
    round.expect(
        confirmed + reserved <= HOLDS,
        || format!("{HOLDS} units were sold {} times: {confirmed} by the holds that had them, {reserved} by new reservations", confirmed + reserved),
        &calls,
    );
    expect_answers(round, &calls);
    Ok(())
}

/// When to release: every fourth round a little before the first deadline, every fourth a little after the last, so that
/// both answers are seen; between them in the others.
pub(super) fn moment(round: &mut Round, holds: &[Hold]) -> Instant {
    let step_ns = STEP_MS * 1_000_000;
    let first = holds.iter().filter_map(|hold| hold.lapses_ns).map(|(first, _)| first).min().unwrap_or_default();
    let last = holds.iter().filter_map(|hold| hold.lapses_ns).map(|(_, last)| last).max().unwrap_or_default();
    let rounding_ns = holds.iter().map(|hold| hold.rounding_ns).max().unwrap_or_default();
    let ns = match round.number % 4 {
        1 => first.saturating_sub(rounding_ns + 4 * step_ns),
        2 => last + rounding_ns + step_ns,
        _ => first.saturating_sub(step_ns) + round.seed.below(last.saturating_sub(first) + 2 * step_ns),
    };
    round.target().recorder().instant(ns)
}

/// Each verb has two answers here, and no third.
fn expect_answers(round: &mut Round, calls: &[Call]) {
    let exact = round.target().dialect().behaviour.exact_reasons;
    for call in calls {
        let met = match &call.request {
            Request::Confirm { .. } => {
                call.outcome.is_ok()
                    || call.outcome.is_refused_for(Reason::ReservationExpired)
                    || !exact && matches!(call.outcome, Outcome::Refused(_))
            }
            Request::Reserve { .. } => {
                call.outcome.is_ok() || call.outcome.is_refused_for(Reason::InsufficientAvailability)
            }
            _ => call.outcome.is_ok(),
        };
        round.expect(
            met || call.outcome.is_unknown(),
            || format!("{} was answered {}", call.request.verb(), crate::history::told(&call.outcome, call.status)),
            std::slice::from_ref(call),
        );
    }
}
