//! Six holds reach their deadlines while each is being confirmed and cancelled, and two sweeps run. Three further holds
//! live on.
//!
//! ```text
//! hold n |==========deadline
//!               | confirm n
//!               | cancel n        at most one of the two is answered 200
//!               | expire, expire
//!               ^ released together, each round a little earlier or later
//! others |=====================================  still hold 3
//! ```
//!
//! Each hold ends once: sold, given back, or lapsed. Whoever comes too late is refused.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
        scenarios::confirm_expire::moment,
    },
    history::{Request, told},
};

const HOLDS: u64 = 6;
const OTHERS: usize = 3;
const TTL_MS: u64 = 90;
const STEP_MS: u64 = 4;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "confirm_cancel_expire",
    source: include_str!("confirm_cancel_expire.rs"),
    rounds: 12,
    needs: Needs { deadline: true, ..Needs::NOTHING },
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let others = round.others(OTHERS);
    round.create_item(HOLDS as i64 + others as i64).await?;
    round.hold(&vec![(1, None); others]).await?;
    let wanted: Vec<(i64, Option<u64>)> =
        (0..HOLDS).map(|step| (1, Some(round.ttl_ms(TTL_MS + step * STEP_MS)))).collect();
    let holds = round.hold(&wanted).await?;
    let moment = moment(round, &holds);
    let mut requests = vec![Request::Expire, Request::Expire];
    for hold in &holds {
        requests.push(Request::Confirm { reservation: hold.id.clone() });
        requests.push(Request::Cancel { reservation: hold.id.clone() });
    }
    round.seed.shuffle(&mut requests);
    let calls = round.race(requests, Some(moment)).await?;
    for hold in &holds {
        let about: Vec<_> = calls.iter().filter(|call| call.request.reservation() == Some(&hold.id)).cloned().collect();
        let done = about.iter().filter(|call| call.outcome.is_ok()).count();
        let answers =
            || about.iter().map(|call| format!("{} {}", call.request.verb(), told(&call.outcome, call.status)));
        round.expect(
            done <= 1,
            || format!("one hold was answered {}: it can end only once", answers().collect::<Vec<_>>().join(", ")),
            &about,
        );
    }
    Ok(())
}
