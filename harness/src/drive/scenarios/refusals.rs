//! Calls that must be refused, one after the other, and after each the item is read: nothing may have changed. One hold
//! is sold, one given back, and three live on.
//!
//! ```text
//! reserve 9 of 2 left        --> 409     | read: as before
//! reserve 0, reserve -1      --> 422     | read: as before
//! confirm what is cancelled  --> 409     | read: as before
//! cancel what is confirmed   --> 409     | read: as before
//! confirm, cancel, read, hold an id that nobody has --> 404, never 2xx
//! ```

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Outcome, Request, told},
};

const OTHERS: usize = 3;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "refusals",
    source: include_str!("refusals.rs"),
    rounds: 4,
    needs: Needs::NOTHING,
    exact: true,
    must_see: &[],
    overlap_min: 0,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(OTHERS as i64 + 3).await?;
    round.hold(&[(1, None); OTHERS]).await?;
    let ended = round.hold(&[(1, None); 2]).await?;
    let [sold, returned] = ended.as_slice() else { return Ok(()) };
    let (sold, returned) = (sold.id.clone(), returned.id.clone());
    round.call(0, Request::Confirm { reservation: sold.clone() }).await;
    round.call(1, Request::Cancel { reservation: returned.clone() }).await;
    round.compare("before anything was refused").await;
    let nobody = unknown_id(round.item());
    let mut requests = vec![
        round.reserve(9, None),
        round.reserve(0, None),
        round.reserve(-1, None),
        Request::Confirm { reservation: returned },
        Request::Cancel { reservation: sold },
        Request::Confirm { reservation: nobody.clone() },
        Request::Cancel { reservation: nobody.clone() },
    ];
    round.seed.shuffle(&mut requests);
    round.race(Vec::new(), None).await?;
    for (index, request) in requests.into_iter().enumerate() {
        let call = round.call(index, request).await;
        let answer = told(&call.outcome, call.status);
        let what = format!("{} was answered {answer}: it must be refused", crate::drive::telling::event(&call));
        round.expect(!matches!(call.outcome, Outcome::Ok(_)), || what, &[call]);
        round.compare("after a refusal").await;
    }
    nobodys(round, nobody).await;
    round.compare("after ids that nobody has").await;
    Ok(())
}

/// Whoever names what is not there is told so: a 2xx would be a promise about nothing.
async fn nobodys(round: &mut Round, nobody: String) {
    let held = match round.reserve(1, None) {
        Request::Reserve { customer, quantity, ttl_ms, key, .. } => {
            Request::Reserve { item: nobody.clone(), customer, quantity, ttl_ms, key }
        }
        other => other,
    };
    let mut requests = vec![Request::GetItem { item: nobody.clone() }, held];
    if !round.target().dialect().routes.get_reservation.is_empty() {
        requests.push(Request::GetReservation { reservation: nobody });
    }
    for (index, request) in requests.into_iter().enumerate() {
        let call = round.aside(index, request).await;
        // A body that says no is a refusal under any status code; a body that says nothing is none; what was garbled on
        // its way may have said either.
        let says_nothing = |why: &str| why.ends_with("cannot be read") && call.status.is_some_and(|code| code < 300);
        let promised = match &call.outcome {
            Outcome::Ok(_) => true,
            Outcome::Unknown(why) => says_nothing(why),
            Outcome::Refused(_) => false,
        };
        let answer = told(&call.outcome, call.status);
        let what = format!("{} of an id that nobody has was answered {answer}", call.request.verb());
        round.expect(!promised, || what, &[call]);
    }
}

/// An id of the deployment's own kind that names nothing.
fn unknown_id(known: &str) -> String {
    if known.parse::<i64>().is_ok() {
        "2000000011".to_owned()
    } else {
        "01900000-0000-4000-8000-00000000dead".to_owned()
    }
}
