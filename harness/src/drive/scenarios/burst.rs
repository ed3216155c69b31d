//! Two hundred customers want one unit each of an item that has fifty; all ask at the same moment, at every instance.
//!
//! ```text
//! item: 50     client   1 |--reserve 1-->  201
//!              client   2 |--reserve 1-->  201
//!                 …       |                 …     exactly 50 of them
//!              client 199 |--reserve 1-->  409    exactly 150, each `insufficient_availability`
//!              client 200 |--reserve 1-->  409
//!                         ^ released together
//! ```
//!
//! No order of the calls changes the counts: each asks for one unit, and nobody gives one back.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::Reason,
};

const UNITS: usize = 50;
const CALLS: usize = 200;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "burst",
    source: include_str!("burst.rs"),
    rounds: 20,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: CALLS / 4,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(UNITS as i64).await?;
    let requests = (0..CALLS).map(|_| round.reserve(1, None)).collect();
    let calls = round.race(requests, None).await?;
    let made = calls.iter().filter(|call| call.outcome.is_ok()).count();
    let refused = calls.iter().filter(|call| call.outcome.is_refused_for(Reason::InsufficientAvailability)).count();
    let unknown = calls.iter().filter(|call| call.outcome.is_unknown()).count();
    let contended = calls.iter().filter(|call| call.outcome.is_refused_for(Reason::Contention)).count();
    // Calls that got no answer may have taken units, and calls told to come again took none: neither excuses more than
    // fifty, and only they excuse fewer.
    let met = made <= UNITS && (made + refused == CALLS && made == UNITS || unknown + contended > 0);
    round.expect(
        met,
        || format!("{CALLS} reservations of 1 raced for {UNITS} units: {made} were made and {refused} refused, not {UNITS} and {}", CALLS - UNITS),
        &calls,
    );
    round.contended(&calls);
    Ok(())
}
