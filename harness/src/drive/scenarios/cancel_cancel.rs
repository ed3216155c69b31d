//! Eight holds are each cancelled three times at the same moment, at different instances. Three further holds live on,
//! so that a unit given back twice is missing from theirs instead of stopping at zero.
//!
//! ```text
//! hold n |=====| cancel n --> 200
//!              | cancel n --> 200   the same answer
//!              | cancel n --> 200
//!              ^ released together
//! others |=====================================  still hold 3
//! ```
//!
//! Every caller is told that the hold is cancelled, and its units come back once. (Where a repeat is refused instead,
//! exactly one of the three succeeds.)

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
        scenarios::repeats,
    },
    history::{Reason, Request},
};

const HOLDS: usize = 8;
const OTHERS: usize = 3;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cancel_cancel",
    source: include_str!("cancel_cancel.rs"),
    rounds: 20,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let ok = round.target().dialect().behaviour.repeated_cancel_is_ok;
    let calls = repeats::race(round, HOLDS, OTHERS, |reservation| Request::Cancel { reservation }).await?;
    repeats::expect(round, &calls, ok, Reason::ReservationCancelled);
    Ok(())
}
