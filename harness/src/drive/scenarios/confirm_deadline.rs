//! Twenty holds reach their deadlines one after the other; each is confirmed right at its own, and other customers ask for
//! the units, one in less than a millisecond, from just before the first deadline to just behind the last. Each round is
//! aimed by the last, so that about half of the confirms come in time. Three further holds live on.
//!
//! ```text
//! hold  1 |==========deadline
//!                   | confirm 1       some a moment before its own deadline, some a moment after
//! hold 20 |=================deadline
//!                          | confirm 20
//!                  | | | | | | | |    reserve 1 (ninety times), one after the other
//!                      | expire, expire
//! ```
//!
//! Each unit goes to the hold that had it or to the next customer, never to both. A confirm that is decided by the clock
//! of its first look and committed a moment later sells a unit that a customer was given in between.

use std::time::Duration;

use crate::{
    check::verdict::Breach,
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
        steering::Steering,
    },
    history::{Call, Outcome, Reason, Request},
};

const HOLDS: usize = 20;
const OTHERS: usize = 3;
/// More often than units become free: a unit that is free for a moment is taken in that moment.
const CUSTOMERS: i64 = 90;
const SWEEPS: i64 = 2;
/// Long enough that the stage is set before the first deadline.
const TTL_MS: u64 = 120;
/// Between two deadlines.
const STEP_MS: u64 = 3;
/// Where all deadlines fall on one second, few holds: units that are free anyway would hide one that is sold twice.
const HOLDS_AT_ONCE: usize = 4;
/// How long before its deadline a hold must at least have been made.
const LEAD: Duration = Duration::from_millis(25);
const MS: i64 = 1_000_000;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "confirm_deadline",
    source: include_str!("confirm_deadline.rs"),
    rounds: 60,
    needs: Needs { deadline: true, ..Needs::NOTHING },
    exact: true,
    must_see: &["confirmed in time", "refused at the deadline"],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let others = round.others(OTHERS);
    let Steering { aim_ns, spread_ns, patience } = round.steering;
    let fine = round.ttl_ms(1) < 1_000;
    let wanted: Vec<(i64, Option<u64>)> = if fine {
        (0..HOLDS as u64).map(|step| (1, Some(round.ttl_ms(TTL_MS * patience + step * STEP_MS)))).collect()
    } else {
        vec![(1, Some(round.ttl_ms(TTL_MS * patience))); HOLDS_AT_ONCE]
    };
    let count = wanted.len();
    round.create_item((count + others) as i64).await?;
    round.hold(&vec![(1, None); others]).await?;
    let holds = round.hold(&wanted).await?;
    let mut deadlines = Vec::with_capacity(count);
    for hold in &holds {
        let Some((first, last)) = hold.lapses_ns else {
            return Err(Halt::Undecided("the answers show no deadline to aim at".to_owned()));
        };
        deadlines.push((hold.id.clone(), u64::midpoint(first, last) as i64));
    }
    let first = deadlines.iter().map(|(_, at)| *at).min().unwrap_or_default();
    let last = deadlines.iter().map(|(_, at)| *at).max().unwrap_or_default();
    let from = first + aim_ns - spread_ns / 2;
    let to = last + aim_ns + spread_ns / 2 + 3 * MS;
    if from < (round.target().recorder().now_ns() as i64) + LEAD.as_nanos() as i64 {
        round.steering.patience = (2 * patience).min(32);
        return Err(Halt::Spoilt("the stage was set too late for the deadlines".to_owned()));
    }
    let mut calls: Vec<(Request, i64)> = Vec::new();
    let mut places: Vec<usize> = (0..count).collect();
    round.seed.shuffle(&mut places);
    for (place, (id, deadline)) in places.into_iter().zip(&deadlines) {
        let step = spread_ns * place as i64 / (count as i64 - 1);
        calls.push((Request::Confirm { reservation: id.clone() }, deadline + aim_ns - spread_ns / 2 + step));
    }
    for customer in 0..CUSTOMERS {
        calls.push((round.reserve(1, None), from + (to - from) * customer / (CUSTOMERS - 1)));
    }
    // Where a lapse alone frees nothing, sweeps do: then they come as often as customers.
    let sweeps = if round.target().dialect().behaviour.lapse_frees_at_once { SWEEPS } else { CUSTOMERS / 3 };
    for sweep in 0..sweeps {
        calls.push((Request::Expire, from + (to - from) * (2 * sweep + 1) / (2 * sweeps)));
    }
    let answered = round.race_at(calls).await?;
    learn(round, &deadlines, &answered);

    let done = |verb: &str| answered.iter().filter(|call| call.request.verb() == verb && call.outcome.is_ok()).count();
    let (confirmed, resold) = (done("confirm"), done("reserve"));
    round.expect_no(
        Breach::SoldTwice,
        confirmed + resold <= count,
        || {
            format!(
                "{count} units were sold {} times: {confirmed} by the holds that had them, {resold} by new reservations",
                confirmed + resold
            )
        },
        &answered,
    );
    round.contended(&answered);
    Ok(())
}

/// Aims the next round by which confirms came in time.
fn learn(round: &mut Round, deadlines: &[(String, i64)], answered: &[Call]) {
    let outcome = |call: &Call| match call.outcome {
        Outcome::Ok(_) => Some(true),
        Outcome::Refused(Reason::Contention | Reason::Unreachable | Reason::Unauthorized) | Outcome::Unknown(_) => None,
        Outcome::Refused(_) => Some(false),
    };
    let mut seen: Vec<(i64, bool)> = answered
        .iter()
        .filter(|call| matches!(call.request, Request::Confirm { .. }))
        .filter_map(|call| {
            let (_, deadline) = deadlines.iter().find(|(id, _)| Some(id.as_str()) == call.request.reservation())?;
            Some((call.invoked_ns as i64 - deadline, outcome(call)?))
        })
        .collect();
    if seen.iter().any(|(_, in_time)| *in_time) {
        round.saw("confirmed in time");
    }
    if seen.iter().any(|(_, in_time)| !in_time) {
        round.saw("refused at the deadline");
    }
    round.steering.learn(&mut seen);
}
