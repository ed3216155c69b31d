//! Reads the item while a race runs: over HTTP what every customer sees, in SQL what the committed rows say.
//! A sampler proves only what it happened to see; the ledger covers the gaps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{
    check::verdict::{Breach, Layer, Violation},
    database::books::Books,
    history::{Call, Request},
    target::{client::Client, deployment::Target, pace::Pace},
};

/// Between two reads: often enough to catch a state that lasts, seldom enough to leave the race the machine.
const PAUSE: Duration = Duration::from_millis(3);

/// The same where the deployment limits its callers: the race needs its calls more.
const LIMITED_PAUSE: Duration = Duration::from_millis(50);

/// What reads between rounds; `watch` sends it out.
pub struct Sampler {
    clients: Vec<Client>,
    books: Option<Books>,
    pace: Pace,
}

/// A sampler at work on one item.
pub struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Sampler, Seen)>,
}

/// What a sampler brought home.
#[derive(Default)]
pub struct Seen {
    /// Its reads over HTTP.
    pub calls: Vec<Call>,
    /// How many statements it ran.
    pub statements: usize,
    /// What was wrong.
    pub violations: Vec<Violation>,
    /// Why a statement could not be run.
    pub failure: Option<String>,
}

impl Sampler {
    /// One reader an instance, and one of the database where there are books.
    pub fn new(target: &Target, books: Option<Books>) -> Self {
        // Their numbers stand apart from the crew's, which count up from 0.
        let number = |instance: usize| 1_000_000 + u32::try_from(instance).unwrap_or_default();
        let clients =
            (0..target.instances()).map(|instance| Client::new(target.clone(), number(instance), instance)).collect();
        Sampler { clients, books, pace: target.pace().clone() }
    }

    /// Starts to read an item.
    pub fn watch(mut self, item: String) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                self.look(&item, &mut seen).await;
                tokio::time::sleep(if self.pace.has_limited() { LIMITED_PAUSE } else { PAUSE }).await;
            }
            (self, seen)
        });
        Watch { stop, task }
    }

    async fn look(&mut self, item: &str, seen: &mut Seen) {
        for client in &mut self.clients {
            let call = client.call(Request::GetItem { item: item.to_owned() }, Some(item.to_owned())).await;
            seen.calls.push(call);
        }
        if let Some(books) = self.books.as_mut().filter(|books| books.reads_rows()) {
            match books.sample(item).await {
                Ok(sample) => {
                    seen.statements += 1;
                    if let Some(what) = sample.audit() {
                        let now = self.clients.first().map(|client| client.recorder().now_ns());
                        let mut violation = Violation::new(Layer::Sampler, Breach::SoldTwice, what);
                        violation.instant_ns = now;
                        seen.violations.push(violation);
                    }
                }
                Err(error) => seen.failure = Some(error),
            }
        }
    }
}

impl Watch {
    /// Ends the watch.
    pub async fn end(self) -> Result<(Sampler, Seen), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.map_err(|error| format!("the sampler failed: {error}"))
    }
}
