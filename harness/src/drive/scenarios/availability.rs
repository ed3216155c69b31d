//! One customer reserves, confirms, cancels and lets holds lapse, one call after the other, at one instance; after every
//! answer the item is read at another. Three further holds live on.
//!
//! ```text
//! instance 1 |--reserve 2--> 201             |--cancel--> 200              (deadline)
//! instance 2                     |--read-->                   |--read-->          |--read-->
//!                                 held 5                       held 3               held 3
//! ```
//!
//! A read that is asked after an answer shows what that answer changed: an availability from a cache is an oversell in
//! waiting. It is never negative, and it always adds up.

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::Request,
};

const OTHERS: usize = 3;
const TTL_MS: u64 = 60;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "availability",
    source: include_str!("availability.rs"),
    rounds: 6,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 0,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(12).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let lapsing = if round.short_deadlines() { Some(round.ttl_ms(TTL_MS)) } else { None };
    // Nothing races here but the sampler, which reads all the while.
    round.race(Vec::new(), None).await?;
    for step in 0..6 {
        let quantity = round.units(2);
        let ttl_ms = if step % 3 == 2 { lapsing } else { None };
        let made = round.hold(&[(quantity, ttl_ms)]).await?;
        round.compare("after a reserve").await;
        for hold in made.iter().filter(|_| ttl_ms.is_none()) {
            let reservation = hold.id.clone();
            let request =
                if step % 2 == 0 { Request::Confirm { reservation } } else { Request::Cancel { reservation } };
            round.call(step, request).await;
            round.compare("after a confirm or cancel").await;
        }
        if ttl_ms.is_some() {
            round.wait_for_deadlines().await;
            if !round.target().dialect().behaviour.lapse_frees_at_once {
                round.sweep().await?;
            }
            round.compare("after a deadline").await;
        }
    }
    Ok(())
}
