//! Calls that were told to come again come again, as a customer's client would: a service may let all but one of the
//! calls that meet try once more, and what it sold is known only when each has its answer.

use std::time::Duration;

use crate::{
    drive::round::Round,
    history::{Call, Request},
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
            let waiting: Vec<usize> = (0..calls.len()).filter(|place| calls[*place].is_contended()).collect();
            if waiting.is_empty() {
                break;
            }
            self.note_contention(&calls[waiting[0]], waiting.len());
            for places in waiting.chunks(if attempt == 0 { AT_ONCE } else { 1 }) {
                self.target().pace().wait().await;
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
            if repeated.iter().any(Call::is_contended) {
                Box::pin(self.persist(repeated)).await;
            }
        }
        calls
    }

    /// A call that failed inside the service has ended, one way or the other: where every instance shows the units that
    /// all other answers imply, and not one taken besides, no such call made a hold.
    pub(crate) async fn settle(&mut self) {
        let failed: Vec<u64> = self.doubtful().filter(|call| call.status.is_some()).map(|call| call.id).collect();
        let only_reserves = self.doubtful().all(|call| call.request.verb() == "reserve" && call.status.is_some());
        if failed.is_empty() || !only_reserves || self.untold() || !self.shows_nothing_else().await {
            return;
        }
        for call in failed {
            self.settle_as(call, false, "every instance shows the units that all other answers imply");
        }
    }

    async fn shows_nothing_else(&mut self) -> bool {
        let (confirmed, held) = self.tally();
        let implied = self.total() - confirmed - held;
        for instance in 0..self.target().instances() {
            let call = self.call(instance, Request::GetItem { item: self.item().to_owned() }).await;
            if call.outcome.item().and_then(|view| view.available) != Some(implied) {
                return false;
            }
        }
        true
    }
}

fn failed(call: &Call) -> bool {
    let repeatable = matches!(call.request, Request::Confirm { .. } | Request::Cancel { .. } | Request::Expire);
    call.outcome.is_unknown() && call.status.is_some() && repeatable
}
