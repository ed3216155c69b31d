//! Eight holds are each confirmed three times at the same moment, at different instances. Three further holds live on.
//!
//! ```text
//! hold n |=====| confirm n --> 200
//!              | confirm n --> 200   the same answer
//!              | confirm n --> 200
//!              ^ released together
//! ```
//!
//! Every caller is told that the hold is confirmed, and its units are deducted once. (Where a repeat is refused
//! instead, exactly one of the three succeeds.)

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
    name: "confirm_confirm",
    source: include_str!("confirm_confirm.rs"),
    rounds: 20,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let ok = round.target().dialect().behaviour.repeated_confirm_is_ok;
    let calls = repeats::race(round, HOLDS, OTHERS, |reservation| Request::Confirm { reservation }).await?;
    repeats::expect(round, &calls, ok, Reason::ReservationConfirmed);
    Ok(())
}
