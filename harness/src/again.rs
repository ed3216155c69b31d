//! Calls that were told to come again come again, as a customer's client would: a service may let all but one of the
//! calls that meet try once more, and what it sold is known only when each has its answer.

use std::time::Duration;

use crate::{
    history::{Call, Reason, Request},
    round::Round,
};

/// A call that is alone and still told to come again so often was not refused by accident.
const ATTEMPTS_MAX: u32 = 12;
/// The first time they come a few at once, which is a race of its own; then one by one, with nobody in the way.
const AT_ONCE: usize = 4;

impl Round {
    /// Repeats what was told to come again until it is answered, and puts the last answer in its place. A confirm or a
    /// cancel that failed inside the service is repeated too, which no state forbids; but its answer stays unknown.
    pub(crate) async fn persist(&mut self, mut calls: Vec<Call>) -> Vec<Call> {
        let failed: Vec<Request> = calls.iter().filter(|call| failed(call)).map(|call| call.request.clone()).collect();
        for attempt in 0..ATTEMPTS_MAX {
            let waiting: Vec<usize> = (0..calls.len()).filter(|place| contended(&calls[*place])).collect();
            if waiting.is_empty() {
                break;
            }
            self.note_contention(&calls[waiting[0]], waiting.len());
            for places in waiting.chunks(if attempt == 0 { AT_ONCE } else { 1 }) {
                // What waited longer is in nobody's way any more.
                tokio::time::sleep(Duration::from_millis(u64::from(attempt))).await;
                let requests = places.iter().map(|place| calls[*place].request.clone()).collect();
                for (place, call) in places.iter().zip(self.send(requests).await) {
                    calls[*place] = call;
                }
            }
        }
        for request in failed {
            let repeated = self.send(vec![request]).await;
            if repeated.iter().any(contended) {
                Box::pin(self.persist(repeated)).await;
            }
        }
        calls
    }
}

pub(crate) fn contended(call: &Call) -> bool {
    call.outcome.is_refused_for(Reason::Contention)
}

fn failed(call: &Call) -> bool {
    let repeatable = matches!(call.request, Request::Confirm { .. } | Request::Cancel { .. } | Request::Expire);
    call.outcome.is_unknown() && call.status.is_some() && repeatable
}
