//! Twelve holds have lapsed when eight sweeps run at once, at every instance. Three further holds live on, so that a
//! unit released by two sweeps is missing from theirs instead of stopping at zero.
//!
//! ```text
//! hold  1 |====deadline      | expire
//!    …                       | expire      each lapsed hold is recorded by one of them
//! hold 12 |====deadline      | expire
//! others  |==================|=============  still hold 3
//!                            ^ released together
//! ```
//!
//! Every sweep is answered 200, and the twelve come back once. With the database, the sweeps may not claim together
//! more expiries than were recorded meanwhile.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Answer, Outcome, Request, told},
};

const HOLDS: usize = 12;
const OTHERS: usize = 3;
const SWEEPS: usize = 8;
const TTL_MS: u64 = 40;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "sweeps",
    source: include_str!("sweeps.rs"),
    rounds: 20,
    needs: Needs { deadline: true, sweep: true, ..Needs::NOTHING },
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let others = round.others(OTHERS);
    let quantities: Vec<i64> = (0..HOLDS).map(|_| round.units(3)).collect();
    round.create_item(quantities.iter().sum::<i64>() + others as i64).await?;
    round.hold(&vec![(1, None); others]).await?;
    let ttl_ms = round.ttl_ms(TTL_MS);
    let wanted: Vec<(i64, Option<u64>)> = quantities.into_iter().map(|quantity| (quantity, Some(ttl_ms))).collect();
    round.hold(&wanted).await?;
    round.wait_for_deadlines().await;

    let began_us = match round.books() {
        Some(books) => Some(books.clock_us().await.map_err(Halt::Undecided)?),
        None => None,
    };
    let calls = round.race(vec![Request::Expire; SWEEPS], None).await?;
    for call in &calls {
        round.expect(
            call.outcome.is_ok() || call.outcome.is_unknown(),
            || format!("one of {SWEEPS} sweeps at once was answered {}", told(&call.outcome, call.status)),
            std::slice::from_ref(call),
        );
    }
    if let (Some(began_us), Some(books)) = (began_us, round.books()) {
        let recorded = books.expired_since(began_us).await.map_err(Halt::Undecided)?;
        let claimed: u64 = calls
            .iter()
            .filter_map(|call| match &call.outcome {
                Outcome::Ok(Answer::Sweep(sweep)) => sweep.expired,
                _ => None,
            })
            .sum();
        round.expect(
            claimed <= recorded,
            || format!("{SWEEPS} sweeps claim {claimed} expiries; the ledger recorded {recorded}"),
            &calls,
        );
    }
    Ok(())
}
