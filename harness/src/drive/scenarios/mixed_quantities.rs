//! Sixty customers want one to five units each of an item that has sixty; all ask at the same moment.
//!
//! ```text
//! item: 60    |--reserve 5-->  201
//!             |--reserve 1-->  201
//!             |--reserve 4-->  409     fewer than 4 were left, and are still
//!             |--reserve 2-->  201
//!             ^ released together
//! ```
//!
//! Nobody gives a unit back, so what is free only shrinks: whoever was refused wants more than what is left at the end.
//! A refusal of units that were free all the while is as wrong as a sale of units that were not.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Reason, Request},
};

const UNITS: i64 = 60;
const CUSTOMERS: usize = 60;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "mixed_quantities",
    source: include_str!("mixed_quantities.rs"),
    rounds: 10,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(UNITS).await?;
    let mut requests = Vec::with_capacity(CUSTOMERS);
    for _ in 0..CUSTOMERS {
        let quantity = round.units(5);
        requests.push(round.reserve(quantity, None));
    }
    let calls = round.race(requests, None).await?;
    if calls.iter().any(|call| call.outcome.is_unknown()) {
        return Ok(());
    }
    let wanted = |request: &Request| if let Request::Reserve { quantity, .. } = request { *quantity } else { 0 };
    let sold: i64 = calls.iter().filter(|call| call.outcome.is_ok()).map(|call| wanted(&call.request)).sum();
    round.expect(sold <= UNITS, || format!("{sold} units of {UNITS} were reserved"), &calls);
    for call in calls.iter().filter(|call| call.outcome.is_refused_for(Reason::InsufficientAvailability)) {
        let quantity = wanted(&call.request);
        round.expect(
            quantity > UNITS - sold,
            || format!("a reservation of {quantity} was refused although {} units are left even now", UNITS - sold),
            std::slice::from_ref(call),
        );
    }
    round.contended(&calls);
    Ok(())
}
