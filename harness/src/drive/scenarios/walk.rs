//! A few units, and bursts of whatever comes to mind: reserve one or more, some for a moment only, confirm or cancel any
//! hold made so far, sweep, read. Each burst ends in quiet before the next begins.
//!
//! ```text
//! | reserve, reserve, expire || confirm a, cancel a, reserve || cancel b, confirm b, expire, read || …
//!   ^ released together       ^ released together             ^ released together
//! ```
//!
//! Nothing is known beforehand but this: some order of all calls explains every answer, and in the end the answers,
//! the item, its rows and what it still sells are one and the same.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::Request,
};

const BURSTS: u64 = 6;
const CALLS_MAX: u64 = 8;
const TTL_MS: u64 = 30;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "walk",
    source: include_str!("walk.rs"),
    rounds: 10,
    needs: Needs::NOTHING,
    exact: false,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let total = 1 + round.seed.below(8);
    round.create_item(total as i64).await?;
    for _ in 0..BURSTS {
        let count = 2 + round.seed.below(CALLS_MAX - 1);
        let requests = (0..count).map(|_| step(round)).collect();
        let calls = round.race(requests, None).await?;
        round.contended(&calls);
    }
    Ok(())
}

fn step(round: &mut Round) -> Request {
    let known = round.holds.len() as u64;
    let dice = round.seed.below(10);
    let hold = (known > 0).then(|| round.seed.below(known) as usize);
    let reservation = hold.and_then(|place| round.holds.keys().nth(place).cloned());
    match (dice, reservation) {
        (0..=1, Some(reservation)) => Request::Confirm { reservation },
        (2..=3, Some(reservation)) => Request::Cancel { reservation },
        (4, _) => Request::Expire,
        (5, _) => Request::GetItem { item: round.item().to_owned() },
        _ => {
            let quantity = round.units(3);
            let lapsing = round.target().dialect().short_deadlines() && round.seed.chance(30);
            let ttl_ms = lapsing.then(|| round.ttl_ms(TTL_MS));
            round.reserve(quantity, ttl_ms)
        }
    }
}
