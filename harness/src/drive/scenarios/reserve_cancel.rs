//! An item is sold out: five holds are being cancelled while ten customers ask for their units. Three further holds
//! live on.
//!
//! ```text
//! hold 1 |=====| cancel 1 --> 200      gives one unit back
//!   …          |   …
//! hold 5 |=====| cancel 5 --> 200
//!              | reserve 1 (ten times) --> 201, at most five of them, or 409 insufficient_availability
//!              ^ released together
//! others |=====================================  still hold 3
//! ```
//!
//! Every cancel succeeds. However many reservations were made, five units are held anew or free, and a customer who
//! asks after the last cancel was answered gets one of the free ones.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Reason, Request, told},
};

const HOLDS: usize = 5;
const OTHERS: usize = 3;
const CUSTOMERS: usize = 10;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "reserve_cancel",
    source: include_str!("reserve_cancel.rs"),
    rounds: 20,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item((HOLDS + OTHERS) as i64).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let holds = round.hold(&[(1, None); HOLDS]).await?;
    let mut requests: Vec<Request> =
        holds.iter().map(|hold| Request::Cancel { reservation: hold.id.clone() }).collect();
    requests.extend((0..CUSTOMERS).map(|_| round.reserve(1, None)));
    round.seed.shuffle(&mut requests);
    let calls = round.race(requests, None).await?;

    let reserved = calls.iter().filter(|call| call.request.verb() == "reserve" && call.outcome.is_ok()).count();
    round.expect(reserved <= HOLDS, || format!("{HOLDS} units were given back, and {reserved} were reserved"), &calls);
    for call in &calls {
        let met = call.outcome.is_ok()
            || call.outcome.is_unknown()
            || call.request.verb() == "reserve" && call.outcome.is_refused_for(Reason::InsufficientAvailability);
        round.expect(
            met,
            || format!("{} was answered {}", call.request.verb(), told(&call.outcome, call.status)),
            std::slice::from_ref(call),
        );
    }
    Ok(())
}
