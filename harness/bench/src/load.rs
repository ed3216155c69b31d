//! The load: callers that call, in a closed loop (each asks again when it was answered) or an open one (calls fall due at
//! a fixed rate, whoever is free makes them, and a call's latency begins when it fell due).
//!
//! It runs on one thread of its own: the machine's other cores belong to the service and the database.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use crate::{
    latency::Latency,
    processor::{Account, Shares},
};

/// How long calls under way at the end may take.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Connections that are opened at once: a database that starts two hundred processes in one go answers nobody.
const OPENING_COUNT: usize = 16;
/// A caller that failed waits this long, so that a dead service is not called a million times.
const FAILED_WAIT: Duration = Duration::from_millis(10);
const EXAMPLE_COUNT_MAX: usize = 5;

/// Whoever makes calls, one at a time, on one connection.
pub trait Caller: Send + 'static {
    /// Opens the connection; not part of any figure.
    fn connect(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// Makes one call and judges its answer; an answer that was not to be expected is an error.
    fn call(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// When calls are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// When the one before was answered.
    Closed,
    /// So many in a second, whatever becomes of them.
    Open(f64),
}

/// How hard, and for how long.
#[derive(Clone, Debug)]
pub struct Effort {
    /// When calls are made.
    pub pace: Pace,
    /// Time before anything counts.
    pub warm_up: Duration,
    /// Time that counts.
    pub measured: Duration,
    /// Processes whose processor time is told apart from the rest.
    pub services: Vec<u32>,
}

/// What came of it.
#[derive(Debug)]
pub struct Load {
    /// Calls that were answered as expected within the measured time.
    pub calls: u64,
    /// Calls that were not, at any time.
    pub errors: u64,
    /// Some of them in words.
    pub examples: Vec<String>,
    /// The measured time.
    pub seconds: f64,
    /// Of the calls that were made (or fell due) within the measured time.
    pub latency: Latency,
    /// The same, corrected for coordinated omission; an open loop needs no correction.
    pub corrected: Latency,
    /// Who used the processor.
    pub processor: Option<Shares>,
}

impl Load {
    /// Calls a second.
    pub fn per_second(&self) -> f64 {
        self.calls as f64 / self.seconds
    }
}

/// Lets the callers call, on a thread of their own.
pub async fn run<C: Caller>(callers: Vec<C>, effort: Effort) -> Result<Load, String> {
    let on_thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the load's runtime cannot start: {error}"))?;
        runtime.block_on(drive(callers, effort))
    };
    tokio::task::spawn_blocking(on_thread).await.map_err(|error| error.to_string())?
}

#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

struct Log {
    latency: Latency,
    calls: u64,
    errors: u64,
    examples: Vec<String>,
}

type Shared = Arc<Mutex<Log>>;

async fn drive<C: Caller>(callers: Vec<C>, effort: Effort) -> Result<Load, String> {
    let count = callers.len();
    let connecting = callers.into_iter().map(|mut caller| async move {
        caller.connect().await?;
        Ok::<_, String>(caller)
    });
    let callers: Vec<C> = stream::iter(connecting).buffer_unordered(OPENING_COUNT).try_collect().await?;

    let begin = Instant::now() + effort.warm_up;
    let window = Window { begin, end: begin + effort.measured };
    let log = Arc::new(Mutex::new(Log { latency: Latency::new()?, calls: 0, errors: 0, examples: Vec::new() }));
    let mut tasks = tokio::task::JoinSet::new();
    match effort.pace {
        Pace::Closed => {
            for caller in callers {
                tasks.spawn(closed(caller, window, Arc::clone(&log)));
            }
        }
        Pace::Open(per_second) => {
            let queue = Arc::new(Queue { due: Mutex::default(), ready: Semaphore::new(0) });
            for caller in callers {
                tasks.spawn(open(caller, Arc::clone(&queue), window, Arc::clone(&log)));
            }
            std::thread::spawn(move || dispatch(&queue, window, per_second, count));
        }
    }
    let services = effort.services;
    let before = async {
        tokio::time::sleep_until(window.begin.into()).await;
        let before = Account::read(&services);
        tokio::time::sleep_until(window.end.into()).await;
        before.and_then(|before| Some(before.until(&Account::read(&services)?)))
    };
    let ended = async { while tasks.join_next().await.is_some() {} };
    let drained = tokio::time::timeout_at((window.end + DRAIN_MAX).into(), ended);
    let (processor, drained) = tokio::join!(before, drained);
    drained.map_err(|_| format!("calls were not answered within {} s", DRAIN_MAX.as_secs()))?;

    let log = Arc::into_inner(log).ok_or("a caller outlived the load")?;
    let Log { latency, calls, errors, examples } = log.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = effort.measured.as_secs_f64();
    let interval = Duration::from_secs_f64(seconds * count as f64 / calls.max(1) as f64);
    let corrected = if effort.pace == Pace::Closed { latency.corrected(interval) } else { latency.clone() };
    let processor = processor.map(|shares| shares.per_call(calls));
    Ok(Load { calls, errors, examples, seconds, latency, corrected, processor })
}

async fn closed<C: Caller>(mut caller: C, window: Window, log: Shared) {
    let mut asked = Instant::now();
    while asked < window.end {
        asked = make(&mut caller, asked, window, &log).await;
    }
}

/// Makes a call that was due at an instant, and tells when it ended.
async fn make<C: Caller>(caller: &mut C, due: Instant, window: Window, log: &Shared) -> Instant {
    let result = caller.call().await;
    let answered = Instant::now();
    let failed = result.is_err();
    locked(log).note(result, due, answered, window);
    if failed {
        tokio::time::sleep(FAILED_WAIT).await;
        return Instant::now();
    }
    answered
}

impl Log {
    fn note(&mut self, result: Result<(), String>, due: Instant, answered: Instant, window: Window) {
        match result {
            Err(error) => {
                self.errors += 1;
                if self.examples.len() < EXAMPLE_COUNT_MAX && !self.examples.contains(&error) {
                    self.examples.push(error);
                }
            }
            Ok(()) => {
                if (window.begin..window.end).contains(&answered) {
                    self.calls += 1;
                }
                // Also those that end after the window: to leave out the slow ones would flatter.
                if (window.begin..window.end).contains(&due) {
                    self.latency.record(answered.duration_since(due));
                }
            }
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls that are due; nothing in place of a call means the end, once for each caller.
struct Queue {
    due: Mutex<VecDeque<Option<Instant>>>,
    ready: Semaphore,
}

async fn open<C: Caller>(mut caller: C, queue: Arc<Queue>, window: Window, log: Shared) {
    while let Ok(permit) = queue.ready.acquire().await {
        permit.forget();
        let Some(Some(due)) = locked(&queue.due).pop_front() else { return };
        make(&mut caller, due, window, &log).await;
    }
}

/// A thread, because the runtime's timer counts whole milliseconds.
fn dispatch(queue: &Queue, window: Window, per_second: f64, callers: usize) {
    let first = Instant::now();
    for number in 0_u32.. {
        let due = first + Duration::from_secs_f64(f64::from(number) / per_second);
        if due >= window.end {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        locked(&queue.due).push_back(Some(due));
        queue.ready.add_permits(1);
    }
    locked(&queue.due).extend(std::iter::repeat_n(None, callers));
    queue.ready.add_permits(callers);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that stands still once, from 300 ms to 600 ms after its start, and answers in no time otherwise.
    struct Stalling {
        started: Instant,
        fails: bool,
    }

    impl Caller for Stalling {
        async fn connect(&mut self) -> Result<(), String> {
            Ok(())
        }

        async fn call(&mut self) -> Result<(), String> {
            let stall = self.started + Duration::from_millis(300)..self.started + Duration::from_millis(600);
            tokio::time::sleep(Duration::from_millis(1)).await;
            if stall.contains(&Instant::now()) {
                tokio::time::sleep_until(stall.end.into()).await;
            }
            if self.fails { Err("no".to_owned()) } else { Ok(()) }
        }
    }

    async fn under_load(pace: Pace, fails: bool) -> Result<Load, String> {
        let started = Instant::now();
        let callers = (0..2).map(|_| Stalling { started, fails }).collect();
        let effort =
            Effort { pace, warm_up: Duration::ZERO, measured: Duration::from_millis(1_200), services: Vec::new() };
        run(callers, effort).await
    }

    #[tokio::test]
    async fn an_open_loop_shows_the_stall_that_two_closed_connections_hide() -> Result<(), String> {
        let open = under_load(Pace::Open(200.0), false).await?;
        // A quarter of the calls fell due while it stood still, and waited 150 ms on average.
        assert!(open.latency.quantiles().p90_us > 100_000.0, "{:?}", open.latency.quantiles());
        assert!((220..=241).contains(&open.latency.count()), "{}", open.latency.count());

        let closed = under_load(Pace::Closed, false).await?;
        assert!(closed.latency.quantiles().p90_us < 50_000.0, "{:?}", closed.latency.quantiles());
        assert!(closed.corrected.quantiles().p90_us > 100_000.0, "{:?}", closed.corrected.quantiles());
        assert_eq!(closed.errors, 0);
        Ok(())
    }

    #[tokio::test]
    async fn a_failed_call_is_an_error_and_no_latency() -> Result<(), String> {
        let load = under_load(Pace::Closed, true).await?;
        assert!(load.errors > 10 && load.calls == 0 && load.latency.count() == 0);
        assert_eq!(load.examples, ["no"]);
        Ok(())
    }
}
