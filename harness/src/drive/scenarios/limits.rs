//! Numbers at their limits: an item of a thousand million, or the largest that the service takes, holds of one and of a
//! million units, and quantities that no service may accept.
//!
//! ```text
//! item: 1,000,000,000   | reserve 1,000,000 (four times) --> 201     | read: exact to the unit
//!                       | reserve 9,223,372,036,854,775,807 --> refused
//!                       | reserve 1 --> 201
//! item: 10              | reserve 0.5, -0.5, "-3", null, true --> refused; 1.5, "2" --> refused, or held in whole units
//! ```
//!
//! What is accepted is counted exactly, and what is refused changes nothing.

use serde_json::{Value, json};

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Outcome, Reason, Request, told},
};

/// Some services keep what one item may have far below what a number can hold.
const TOTALS: [i64; 3] = [1_000_000_000, 1_000_000, 10_000];
const LARGEST: i64 = 1_000_000;
const FEW: i64 = 10;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "limits",
    source: include_str!("limits.rs"),
    rounds: 2,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 0,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    let mut total = FEW;
    for wished in TOTALS {
        // What is refused here is created again below, and told there if it is refused again.
        if round.created(wished).await.outcome.is_ok() {
            total = wished;
            break;
        }
    }
    round.create_item(total).await?;
    let large = LARGEST.min(total / 10);
    let mut requests: Vec<_> = (0..4).map(|_| round.reserve(large, None)).collect();
    requests.push(round.reserve(large + 1, None));
    requests.push(round.reserve(1, None));
    let calls = round.race(requests, None).await?;
    for call in &calls {
        // A service may limit what one customer reserves; it may not say that the units are not there.
        let met = !call.outcome.is_refused_for(Reason::InsufficientAvailability);
        let answer = told(&call.outcome, call.status);
        round.expect(
            met,
            || format!("with {total} units free, a reservation was answered {answer}"),
            std::slice::from_ref(call),
        );
    }
    for quantity in [total + 1, i64::from(i32::MAX) + 1, i64::MAX] {
        let request = round.reserve(quantity, None);
        let call = round.call(0, request).await;
        let answer = told(&call.outcome, call.status);
        round.expect(
            !matches!(call.outcome, Outcome::Ok(_)),
            || format!("a reservation of {quantity} was answered {answer}"),
            &[call],
        );
    }
    round.compare("after numbers at their limits").await;
    odd(round).await
}

/// What is no whole number, on an item of its own: a service may round it or read it out of a text, but what it then
/// holds is whole, more than nothing and no more than was asked for, and comes back.
async fn odd(round: &mut Round) -> Result<(), Halt> {
    let created = round.created(FEW).await;
    let Some(item) = created.item.clone() else { return Ok(()) };
    let asked: [(Value, i64); 8] = [
        (json!(0.5), 0),
        (json!(-0.5), 0),
        (json!("-3"), 0),
        (json!(""), 0),
        (json!("two"), 0),
        (Value::Null, 0),
        (json!(1.5), 2),
        (json!("2"), 2),
    ];
    for (quantity, most) in asked {
        let customer = match round.reserve(1, None) {
            Request::Reserve { customer, .. } => customer,
            _ => return Ok(()),
        };
        let Some(before) = available(round, &item).await else { return Ok(()) };
        let request = Request::ReserveOdd { item: item.clone(), customer, quantity: quantity.clone() };
        let call = round.aside(0, request).await;
        let taken = available(round, &item).await.map(|after| before - after);
        let made = call.outcome.reservation().and_then(|view| view.id.clone());
        let answer = told(&call.outcome, call.status);
        let met = match (&made, taken) {
            (Some(_), Some(taken)) => (1..=most).contains(&taken),
            (None, Some(taken)) => taken == 0,
            // Whoever shows no whole number any more has held a part of a unit.
            (_, None) => false,
        };
        let shown = taken.map_or_else(|| "a part of a unit".to_owned(), |taken| taken.to_string());
        round.expect(
            met,
            || format!("a reservation of {quantity} was answered {answer} and took {shown}"),
            std::slice::from_ref(&call),
        );
        let Some(reservation) = made.filter(|_| met) else { continue };
        let cancelled = round.aside(1, Request::Cancel { reservation }).await;
        let after = available(round, &item).await;
        round.expect(
            after == Some(before),
            || format!("a hold of {quantity} was cancelled, and {after:?} units are available, not {before}"),
            &[call, cancelled],
        );
    }
    Ok(())
}

async fn available(round: &mut Round, item: &str) -> Option<i64> {
    round.aside(0, Request::GetItem { item: item.to_owned() }).await.outcome.item()?.available
}
