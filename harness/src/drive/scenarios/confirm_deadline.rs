//! Three holds reach their deadlines one after the other; each is confirmed right at its own: a millisecond before,
//! within the instant, a millisecond after. At the same moment another customer asks for its unit and a sweep runs. Three
//! further holds live on.
//!
//! ```text
//! hold 1 |==========deadline
//!                 | confirm 1, reserve 1, expire
//! hold 2 |====================deadline
//!                             | confirm 2, reserve 1, expire
//! hold 3 |==============================deadline
//!                                         | confirm 3, reserve 1, expire
//! ```
//!
//! Each unit goes to the hold that had it or to the next customer, never to both, and with nobody asking any more it is
//! still where it went.

use crate::{
    drive::{findings::Halt, round::Round, scenario::Scenario},
    history::Request,
};

const OTHERS: usize = 3;
/// Long enough that the stage is set before the first deadline.
const TTL_MS: u64 = 80;
/// Between two deadlines: long enough that one race is over before the next begins.
const STEP_MS: u64 = 30;
const MS: u64 = 1_000_000;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "confirm_deadline",
    source: include_str!("confirm_deadline.rs"),
    rounds: 12,
    needs_deadline: true,
    needs_key: false,
    needs_late_confirm: false,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let wanted: Vec<(i64, Option<u64>)> =
        (0..3).map(|step| (1, Some(round.ttl_ms(TTL_MS) + if_fine(round, step * STEP_MS)))).collect();
    round.create_item((wanted.len() + OTHERS) as i64).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let mut holds = round.hold(&wanted).await?;
    holds.sort_by_key(|hold| hold.lapses_ns);
    let mut place = [0, 1, 2];
    round.seed.shuffle(&mut place);
    let (mut confirmed, mut resold, mut calls) = (0, 0, Vec::new());
    for (hold, place) in holds.iter().zip(place) {
        let Some((first, last)) = hold.lapses_ns else { return Ok(()) };
        let ns = match place {
            0 => first.saturating_sub(MS),
            1 => first + round.seed.below(last - first + 1),
            _ => last + MS,
        };
        let mut requests =
            vec![Request::Confirm { reservation: hold.id.clone() }, round.reserve(1, None), Request::Expire];
        round.seed.shuffle(&mut requests);
        let moment = round.target().recorder().instant(ns);
        let answered = round.race(requests, Some(moment)).await?;
        confirmed += answered.iter().filter(|call| call.request.verb() == "confirm" && call.outcome.is_ok()).count();
        resold += answered.iter().filter(|call| call.request.verb() == "reserve" && call.outcome.is_ok()).count();
        calls.extend(answered);
    }
    round.expect(
        confirmed + resold <= holds.len(),
        || {
            format!(
                "{} units were sold {} times: {confirmed} by the holds that had them, {resold} by new reservations",
                holds.len(),
                confirmed + resold
            )
        },
        &calls,
    );
    round.contended(&calls);
    Ok(())
}

/// Whole seconds cannot be told apart by a few milliseconds.
fn if_fine(round: &Round, step_ms: u64) -> u64 {
    if round.ttl_ms(1) < 1_000 { step_ms } else { 0 }
}
