//! A hold lapses, somebody else reserves its unit, and only then is the old hold confirmed. Three further holds live on.
//!
//! ```text
//! old hold |=====deadline                       confirm old --> 409 reservation_expired
//!                  | (expire, in every other round)  |
//!                     reserve 1 --> 201              |   confirm new --> 200
//! others   |=====================================  still hold 3
//! ```
//!
//! The unit is sold once, to the second customer, whether or not a sweep has run between.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Outcome, Request, told},
};

const OTHERS: usize = 3;
const TTL_MS: u64 = 40;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "resale",
    source: include_str!("resale.rs"),
    rounds: 8,
    needs: Needs { deadline: true, ..Needs::NOTHING },
    exact: true,
    must_see: &[],
    overlap_min: 0,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let others = round.others(OTHERS);
    round.create_item(others as i64 + 1).await?;
    round.hold(&vec![(1, None); others]).await?;
    let ttl_ms = round.ttl_ms(TTL_MS);
    let old = round.hold(&[(1, Some(ttl_ms))]).await?;
    round.wait_for_deadlines().await;
    let needs_sweep = !round.target().dialect().behaviour.lapse_frees_at_once;
    if needs_sweep || round.number.is_multiple_of(2) {
        round.sweep().await?;
    }
    let request = round.reserve(1, None);
    let resold = round.race(vec![request], None).await?;
    for call in &resold {
        let met = call.outcome.is_ok() || call.outcome.is_unknown();
        let answer = told(&call.outcome, call.status);
        round.expect(met, || format!("the unit of a lapsed hold could not be reserved: {answer}"), &resold);
    }
    let mut late = Vec::new();
    for hold in &old {
        late.push(round.call(1, Request::Confirm { reservation: hold.id.clone() }).await);
    }
    for call in &late {
        let met = !matches!(call.outcome, Outcome::Ok(_));
        round.expect(met, || "a lapsed hold was confirmed after its unit had been reserved again".to_owned(), &late);
    }
    let new: Vec<String> = resold.iter().filter_map(|call| call.outcome.reservation()?.id.clone()).collect();
    for reservation in new {
        let call = round.call(0, Request::Confirm { reservation }).await;
        let answer = told(&call.outcome, call.status);
        round.expect(call.outcome.is_ok(), || format!("the second customer could not confirm: {answer}"), &[call]);
    }
    Ok(())
}
