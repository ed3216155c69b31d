//! One unit is left, and twenty customers want it. Three holds live on.
//!
//! ```text
//! item: 4, held 3   customer  1 |--reserve 1-->  201    exactly one of them
//!                        …      |                 …
//!                   customer 20 |--reserve 1-->  409 insufficient_availability
//!                               ^ released together
//! ```

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::Reason,
};

const OTHERS: usize = 3;
const CUSTOMERS: usize = 20;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "last_unit",
    source: include_str!("last_unit.rs"),
    rounds: 20,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(OTHERS as i64 + 1).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let requests = (0..CUSTOMERS).map(|_| round.reserve(1, None)).collect();
    let calls = round.race(requests, None).await?;
    let made = calls.iter().filter(|call| call.outcome.is_ok()).count();
    let refused = calls.iter().filter(|call| call.outcome.is_refused_for(Reason::InsufficientAvailability)).count();
    let answered =
        calls.iter().all(|call| !call.outcome.is_unknown() && !call.outcome.is_refused_for(Reason::Contention));
    round.expect(
        made <= 1 && (made == 1 && made + refused == CUSTOMERS || !answered),
        || format!("{CUSTOMERS} customers raced for the last unit: {made} got it and {refused} were refused"),
        &calls,
    );
    round.contended(&calls);
    Ok(())
}
