//! Eight holds have lapsed when their payments land after all, each twice at once and at different instances, and ask for
//! the units anew; four other customers ask for them too. Three further holds live on.
//!
//! ```text
//! hold n |=====deadline      | confirm n, anew if need be --> 200, or 409 reservation_expired
//!         (expire, in every  | confirm n, anew if need be --> the same
//!          other round)      | reserve 1 (four times)     --> 201, or 409 insufficient_availability
//!                            ^ released together
//! others |=====================================  still hold 3
//! ```
//!
//! Nobody gives a unit back, so exactly eight are sold or held anew, and whoever is refused finds none left. A payment
//! that lands twice is answered the same and takes its unit once. (This is beyond the assignment: where a deployment has
//! no such confirm, nothing is raced.)

use crate::{
    drive::{
        findings::Halt,
        hold::Hold,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Call, Request, told},
};

const HOLDS: usize = 8;
const OTHERS: usize = 3;
const CUSTOMERS: usize = 4;
const TTL_MS: u64 = 40;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late_confirm",
    source: include_str!("late_confirm.rs"),
    rounds: 12,
    needs: Needs { deadline: true, late_confirm: true, ..Needs::NOTHING },
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item((HOLDS + OTHERS) as i64).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let ttl_ms = round.ttl_ms(TTL_MS);
    let holds = round.hold(&[(1, Some(ttl_ms)); HOLDS]).await?;
    round.wait_for_deadlines().await;
    if round.number.is_multiple_of(2) {
        round.sweep().await?;
    }
    let late = |hold: &Hold| vec![Request::ConfirmLate { reservation: hold.id.clone() }; 2];
    let mut requests: Vec<Request> = holds.iter().flat_map(late).collect();
    requests.extend((0..CUSTOMERS).map(|_| round.reserve(1, None)));
    let calls = round.race(requests, None).await?;
    round.contended(&calls);
    let (payments, reservations) = calls.split_at(2 * HOLDS);
    let clear = |call: &Call| !call.outcome.is_unknown() && !call.is_contended();
    for pair in payments.chunks(2).filter(|pair| pair.iter().all(clear)) {
        let same = pair[0].outcome.is_ok() == pair[1].outcome.is_ok();
        let answers = || pair.iter().map(|call| told(&call.outcome, call.status)).collect::<Vec<_>>().join(" and ");
        round.expect(same, || format!("one late payment, sent twice at once, was answered {}", answers()), pair);
    }
    let paid = payments.chunks(2).filter(|pair| pair.iter().any(|call| call.outcome.is_ok())).count();
    let reserved = reservations.iter().filter(|call| call.outcome.is_ok()).count();
    round.expect(
        paid + reserved <= HOLDS && (paid + reserved == HOLDS || !calls.iter().all(clear)),
        || {
            format!(
                "{HOLDS} units of lapsed holds: {paid} were paid for late and {reserved} reserved, not {HOLDS} together"
            )
        },
        &calls,
    );
    Ok(())
}
