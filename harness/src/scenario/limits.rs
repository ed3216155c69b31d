//! Numbers at their limits: an item of a thousand million, holds of one and of a million units, and quantities that no
//! service may accept.
//!
//! ```text
//! item: 1,000,000,000   | reserve 1,000,000 (four times) --> 201     | read: exact to the unit
//!                       | reserve 9,223,372,036,854,775,807 --> refused
//!                       | reserve 1 --> 201
//! ```
//!
//! What is accepted is counted exactly, and what is refused changes nothing.

use crate::{
    history::{Outcome, Reason},
    round::{Halt, Round, told},
    scenario::Scenario,
};

const TOTAL: i64 = 1_000_000_000;
const LARGEST: i64 = 1_000_000;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "limits",
    source: include_str!("limits.rs"),
    rounds: 2,
    needs_deadline: false,
    needs_key: false,
    must_see: &[],
    overlap_min: 0,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(TOTAL).await?;
    let mut requests: Vec<_> = (0..4).map(|_| round.reserve(LARGEST, None)).collect();
    requests.push(round.reserve(1, None));
    let calls = round.race(requests, None).await?;
    for call in &calls {
        // A service may limit what one customer reserves; it may not say that the units are not there.
        let met = !call.outcome.is_refused_for(Reason::InsufficientAvailability);
        let answer = told(&call.outcome, call.status);
        round.expect(
            met,
            || format!("with {TOTAL} units free, a reservation was answered {answer}"),
            std::slice::from_ref(call),
        );
    }
    let request = round.reserve(i64::MAX, None);
    let call = round.call(0, request).await;
    let answer = told(&call.outcome, call.status);
    round.expect(
        !matches!(call.outcome, Outcome::Ok(_)),
        || format!("a reservation of {} was answered {answer}", i64::MAX),
        &[call],
    );
    round.compare("after numbers at their limits").await;
    Ok(())
}
