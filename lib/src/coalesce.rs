//! Calls of one item that wait share a statement: a queue for each item, one batch of it in flight, and the database still
//! decides each call.
//!
//! This is performance and nothing else. There is no timer: a call that finds no batch of its queue in flight is sent at
//! once, alone, by the lean statement of its operation; a call that finds one waits in the queue, and all that wait are the
//! next batch.
//!
//! A reserve's queue is its item's. A confirm or a cancel names a reservation and not its item; its queue is the bucket of
//! its id, which is its item's as well ([`bucket`](crate::bucket)). That needs no memory of who reserved what, so it serves
//! the reservations of other processes too. Two items of one bucket share a queue.
//!
//! A batch runs in a task of its own, so that a caller who is dropped, or is not polled for a while, delays no other caller.
//! The batch of a lone call runs in its caller's task, which saves a wake-up (2 to 4 % of a call), until another call waits
//! behind it or the caller is dropped. The state's mutex is the only lock, and no call is awaited under it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::mem;
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use crate::db::count_database_time;
use crate::error::Error;

/// Calls of one statement at most; they bound the time the item stays locked.
const BATCH_CALL_COUNT_MAX: usize = 200;

/// Calls that wait in one queue at most, and in all queues together: what a flood of calls may cost in memory.
const QUEUE_CALL_COUNT_MAX: usize = 10_000;
const CALL_COUNT_MAX: usize = 20_000;

/// An operation whose calls can share a statement.
pub(crate) trait Coalesce: Send + Sync + 'static {
    /// What the calls of one statement have in common.
    type Queue: Copy + Eq + Hash + Send + Sync + 'static;
    type Call: Send + 'static;
    type Answer: Send + 'static;

    /// Sends one call, by the lean statement.
    fn send_alone(
        &self,
        queue: Self::Queue,
        call: &Self::Call,
    ) -> impl Future<Output = Result<Self::Answer, Error>> + Send;

    /// Sends calls of one queue, in their order, in as few statements as may be, and answers those it can. It returns the
    /// rest with the reason: the statement as a whole had no outcome.
    fn send_together(
        &self,
        queue: Self::Queue,
        members: Vec<Member<Self>>,
    ) -> impl Future<Output = Result<(), (Error, Vec<Member<Self>>)>> + Send
    where
        Self: Sized;

    /// What no two calls of one statement may have in common.
    fn distinct<'c>(&self, _call: &'c Self::Call) -> Option<&'c str> {
        None
    }
}

/// A call in a queue, and the caller that waits for its answer. One that is dropped unanswered leaves the outcome unknown.
pub(crate) struct Member<Operation: Coalesce> {
    pub call: Operation::Call,
    caller: oneshot::Sender<Result<Operation::Answer, Error>>,
    since: Instant,
}

impl<Operation: Coalesce> Member<Operation> {
    /// Answers the caller, if it still listens.
    pub fn answer(self, answer: Result<Operation::Answer, Error>) {
        let _ = self.caller.send(answer);
    }
}

/// What coalescing has done so far, in one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coalesced {
    /// Statements sent.
    pub statement_count: u64,
    /// Calls they carried.
    pub call_count: u64,
    /// Calls that wait now.
    pub waiting_count: usize,
}

impl Add for Coalesced {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            statement_count: self.statement_count + other.statement_count,
            call_count: self.call_count + other.call_count,
            waiting_count: self.waiting_count + other.waiting_count,
        }
    }
}

/// The queues of one operation.
pub(crate) struct Queues<Operation: Coalesce>(Arc<Shared<Operation>>);

impl<Operation: Coalesce> Clone for Queues<Operation> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<Operation: Coalesce> {
    operation: Operation,
    coalescing: bool,
    wait_max: Duration,
    state: Mutex<State<Operation>>,
}

struct State<Operation: Coalesce> {
    /// A queue is here while a batch of it is in flight: a second statement would meet the first at the item's row, and both
    /// would carry fewer calls.
    queues: HashMap<Operation::Queue, Queue<Operation>>,
    done: Coalesced,
}

struct Queue<Operation: Coalesce> {
    /// The calls that wait, in the order in which they came.
    waiting: VecDeque<Member<Operation>>,
    /// The batch in flight, while the task of its call runs it.
    lone: Option<LoneBatch>,
}

/// The batch of one call, which that call's task runs. `detach` moves it into a task of its own; from then on, and after it
/// has ended, `run` holds none. `run` is locked before the state, never after: a batch that ends in `poll` locks the state.
#[derive(Clone)]
struct LoneBatch {
    run: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
    /// The caller's. Its task is in it already; a task of the batch's own enters it.
    span: Span,
}

impl LoneBatch {
    /// Runs the batch on; true when it ended in this call.
    fn poll(&self, context: &mut Context<'_>) -> bool {
        let mut place = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out first: a future that panicked must not be polled again.
        let Some(mut run) = place.take() else { return false };
        let ended = run.as_mut().poll(context).is_ready();
        *place = (!ended).then_some(run);
        ended
    }

    fn detach(&self, runtime: &Handle) {
        let batch = self.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        batch.map(|batch| runtime.spawn(batch.instrument(self.span.clone())));
    }
}

/// Held by the call that runs a lone batch. When the call is dropped, the batch gets a task of its own.
struct Attendant {
    batch: LoneBatch,
    runtime: Handle,
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.batch.detach(&self.runtime);
    }
}

impl<Operation: Coalesce> Queues<Operation> {
    pub fn new(operation: Operation, coalescing: bool, wait_max: Duration) -> Self {
        let state = Mutex::new(State { queues: HashMap::new(), done: Coalesced::default() });
        Self(Arc::new(Shared { operation, coalescing, wait_max, state }))
    }

    /// Sends a call, alone or in a batch, and waits for its answer.
    ///
    /// Dropped before its batch is sent, the call takes no effect; afterwards it takes its effect, and no caller is told.
    pub async fn call(&self, queue: Operation::Queue, call: Operation::Call) -> Result<Operation::Answer, Error> {
        if !self.0.coalescing {
            return self.0.operation.send_alone(queue, &call).await;
        }
        let since = Instant::now();
        let (caller, mut answer) = oneshot::channel();
        let attendant = self.enter(queue, Member { call, caller, since })?;
        // A statement that this task sends counts its own time.
        let mut counted = false;
        let answer = poll_fn(|context| {
            if let Some(Attendant { batch, .. }) = &attendant {
                counted |= batch.poll(context);
            }
            answer.poll_unpin(context)
        })
        .await;
        if !counted {
            count_database_time(since.elapsed());
        }
        answer.unwrap_or_else(|_| Err(Error::Unavailable("the process stopped while the call was in flight".into())))
    }

    /// What has been done so far.
    pub fn coalesced(&self) -> Coalesced {
        self.0.state().done
    }

    fn enter(&self, queue: Operation::Queue, member: Member<Operation>) -> Result<Option<Attendant>, Error> {
        let runtime = Handle::current();
        let mut state = self.0.state();
        let State { queues, done } = &mut *state;
        match queues.entry(queue) {
            Entry::Vacant(vacant) => {
                let batch = Batch { shared: self.0.clone(), queue, runtime: runtime.clone() };
                let run = batch.run(vec![member]);
                let batch = LoneBatch { run: Arc::new(Mutex::new(Some(run.boxed()))), span: Span::current() };
                vacant.insert(Queue { waiting: VecDeque::new(), lone: Some(batch.clone()) });
                Ok(Some(Attendant { batch, runtime }))
            }
            Entry::Occupied(mut occupied) => {
                let Queue { waiting, lone } = occupied.get_mut();
                if waiting.len() >= QUEUE_CALL_COUNT_MAX || done.waiting_count >= CALL_COUNT_MAX {
                    return Err(Error::Overloaded { what: "a place in the queue", waited: Duration::ZERO });
                }
                waiting.push_back(member);
                done.waiting_count += 1;
                let lone = lone.take();
                drop(state);
                if let Some(batch) = lone {
                    batch.detach(&runtime);
                }
                Ok(None)
            }
        }
    }
}

impl<Operation: Coalesce> Shared<Operation> {
    fn state(&self) -> MutexGuard<'_, State<Operation>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have a batch of a queue in flight. However it ends, the next calls of the queue have it, or the queue goes.
struct Batch<Operation: Coalesce> {
    shared: Arc<Shared<Operation>>,
    queue: Operation::Queue,
    runtime: Handle,
}

impl<Operation: Coalesce> Drop for Batch<Operation> {
    fn drop(&mut self) {
        let (next, too_late) = self.shared.state().end(self);
        for member in too_late {
            let waited = member.since.elapsed();
            member.answer(Err(Error::Overloaded { what: "the calls before it", waited }));
        }
        if let Some(members) = next {
            let batch = Batch { shared: self.shared.clone(), queue: self.queue, runtime: self.runtime.clone() };
            self.runtime.spawn(batch.run(members));
        }
    }
}

impl<Operation: Coalesce> State<Operation> {
    /// The calls of the next batch, and those that have waited too long; the queue goes when there is no next batch.
    fn end(&mut self, batch: &Batch<Operation>) -> (Option<Vec<Member<Operation>>>, Vec<Member<Operation>>) {
        let Entry::Occupied(mut queue) = self.queues.entry(batch.queue) else { return (None, Vec::new()) };
        let Queue { waiting, lone } = queue.get_mut();
        *lone = None;
        let waiting_count = waiting.len();
        let (next, too_late) = take(waiting, &batch.shared.operation, batch.shared.wait_max);
        self.done.waiting_count -= waiting_count - waiting.len();
        if next.is_empty() {
            queue.remove();
            return (None, too_late);
        }
        (Some(next), too_late)
    }
}

/// Takes the calls that may share the next statement, first come first; passes over those whose caller is gone, and leaves
/// in the queue those that have to be distinct from one that is taken.
fn take<Operation: Coalesce>(
    waiting: &mut VecDeque<Member<Operation>>,
    operation: &Operation,
    wait_max: Duration,
) -> (Vec<Member<Operation>>, Vec<Member<Operation>>) {
    let (mut taken, mut too_late) = (Vec::new(), Vec::new());
    let (mut left, mut taken_names) = (VecDeque::new(), HashSet::new());
    while taken.len() < BATCH_CALL_COUNT_MAX
        && let Some(member) = waiting.pop_front()
    {
        if member.caller.is_closed() {
            continue;
        }
        if member.since.elapsed() > wait_max {
            too_late.push(member);
            continue;
        }
        let name = operation.distinct(&member.call).map(str::to_owned);
        if name.is_none_or(|name| taken_names.insert(name)) {
            taken.push(member);
        } else {
            left.push_back(member);
        }
    }
    left.append(waiting);
    mem::swap(waiting, &mut left);
    (taken, too_late)
}

impl<Operation: Coalesce> Batch<Operation> {
    async fn run(self, mut members: Vec<Member<Operation>>) {
        let operation = &self.shared.operation;
        {
            let done = &mut self.shared.state().done;
            done.statement_count += 1;
            done.call_count += members.len() as u64;
        }
        if members.len() > 1 {
            tracing::debug!(call_count = members.len(), "sent together");
            let Err((error, rest)) = operation.send_together(self.queue, members).await else { return };
            // After a timeout or a lost connection, sending each call alone would fail the same way.
            if !matches!(error, Error::Internal { .. }) {
                return rest.into_iter().for_each(|member| member.answer(Err(error.clone())));
            }
            // One of them may be the cause; the others are answered by statements of their own.
            tracing::warn!(call_count = rest.len(), %error, "sent again one by one");
            members = rest;
        }
        for member in members {
            let answer = operation.send_alone(self.queue, &member.call).await;
            member.answer(answer);
        }
    }
}
