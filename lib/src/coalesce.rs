//! Calls that wait for one item leave together: one statement answers many, and the database still decides each.
//!
//! What is kept here is performance and nothing else: which calls share a statement. There is no timer. A call that finds
//! no statement of its lane under way leaves at once, alone, by the lean statement of its operation; one that does waits,
//! and leaves with the others that wait when that statement ends.
//!
//! A reserve's lane is its item. A confirm or a cancel names a reservation and not its item, so an id made here ends as
//! its item's id ends ([`reservation_id`]), and the end of the id is the lane. That needs no memory of who reserved what,
//! so it serves the reservations of other processes too, and the calls on one hot item never stand in front of another's.
//! Two items that end alike share a lane, and a statement; it bears that.
//!
//! A statement runs in a task of its own, so that a caller who is dropped, or is not polled for a while, holds up nobody. A
//! lone call's runs in its caller's task, which costs less, until somebody waits behind it or the caller is dropped.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::hash::Hash;
use std::mem;
use std::ops::Add;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Instrument;
use uuid::Uuid;

use crate::db::count_database_time;
use crate::error::Error;

/// Calls of one statement at most; they bound the time the item stays locked.
const BATCH_CALL_COUNT_MAX: usize = 200;

/// Calls that wait in one lane at most, and in all lanes together: what a flood of calls may cost in memory.
const LANE_CALL_COUNT_MAX: usize = 10_000;
const CALL_COUNT_MAX: usize = 20_000;

/// An operation whose calls can share a statement.
pub(crate) trait Coalesce: Send + Sync + 'static {
    /// What the calls of one statement have in common.
    type Lane: Copy + Eq + Hash + Send + Sync + 'static;
    type Call: Send + 'static;
    type Answer: Send + 'static;

    /// Sends one call, by the lean statement.
    fn send_alone(
        &self,
        lane: Self::Lane,
        call: &Self::Call,
    ) -> impl Future<Output = Result<Self::Answer, Error>> + Send;

    /// Sends calls of one lane, in their order, in as few statements as may be, and answers those it can. It returns the
    /// rest with the reason: the statement as a whole had no outcome.
    fn send_together(
        &self,
        lane: Self::Lane,
        members: Vec<Member<Self>>,
    ) -> impl Future<Output = Result<(), (Error, Vec<Member<Self>>)>> + Send
    where
        Self: Sized;

    /// What no two calls of one statement may have in common.
    fn distinct<'c>(&self, _call: &'c Self::Call) -> Option<&'c str> {
        None
    }
}

/// A call in line, and who waits for its answer. One that is dropped unanswered tells its caller that nobody knows.
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

/// The lanes of one operation.
pub(crate) struct Lanes<Operation: Coalesce>(Arc<Shared<Operation>>);

impl<Operation: Coalesce> Clone for Lanes<Operation> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Shared<Operation: Coalesce> {
    operation: Operation,
    coalescing: bool,
    wait_max: Duration,
    traffic: Mutex<Traffic<Operation>>,
}

struct Traffic<Operation: Coalesce> {
    /// A lane is here while a statement of it is under way. A second statement would meet the first at the item's row, and
    /// both would carry fewer calls.
    lanes: HashMap<Operation::Lane, Line<Operation>>,
    done: Coalesced,
}

struct Line<Operation: Coalesce> {
    /// The calls that wait, in the order in which they came.
    waiting: VecDeque<Member<Operation>>,
    /// What is under way, where a caller runs it and nobody has waited behind it yet.
    led: Option<Led>,
}

type BoxedTurn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A statement that its caller runs, and that anybody may send on its way in a task of its own.
#[derive(Clone)]
struct Led(Arc<Mutex<Option<BoxedTurn>>>);

impl Led {
    fn new(turn: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(turn)))))
    }

    /// Whether it has ended, and here.
    fn poll(&self, context: &mut Context<'_>) -> bool {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that one that panics is not run again.
        let Some(mut turn) = place.take() else { return false };
        let ended = turn.as_mut().poll(context).is_ready();
        *place = (!ended).then_some(turn);
        ended
    }

    /// Lets it run by itself, unless it does already or has ended.
    fn set_off(&self, runtime: &Handle) {
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(turn) = turn {
            runtime.spawn(turn);
        }
    }
}

/// The caller that runs a statement, which runs on without it.
struct Leader {
    led: Led,
    runtime: Handle,
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.led.set_off(&self.runtime);
    }
}

/// Where a call stands when it has entered its lane.
enum Entered {
    First(Leader),
    Behind,
}

impl<Operation: Coalesce> Lanes<Operation> {
    pub fn new(operation: Operation, coalescing: bool, wait_max: Duration) -> Self {
        let traffic = Mutex::new(Traffic { lanes: HashMap::new(), done: Coalesced::default() });
        Self(Arc::new(Shared { operation, coalescing, wait_max, traffic }))
    }

    /// Sends a call, alone or with others, and waits for its answer.
    ///
    /// Dropped before the call has left, it takes no effect; afterwards it takes its effect, and nobody is told.
    pub async fn call(&self, lane: Operation::Lane, call: Operation::Call) -> Result<Operation::Answer, Error> {
        if !self.0.coalescing {
            return self.0.operation.send_alone(lane, &call).await;
        }
        let since = Instant::now();
        let (caller, mut answer) = oneshot::channel();
        let entered = self.enter(lane, Member { call, caller, since })?;
        // What runs in this task counts its own time.
        let mut counted = false;
        let answer = poll_fn(|context| {
            if let Entered::First(leader) = &entered {
                counted |= leader.led.poll(context);
            }
            Pin::new(&mut answer).poll(context)
        })
        .await;
        if !counted {
            count_database_time(since.elapsed());
        }
        answer.unwrap_or_else(|_| Err(Error::Unavailable("the process stopped while the call was under way".into())))
    }

    /// What has been done so far.
    pub fn coalesced(&self) -> Coalesced {
        self.0.traffic().done
    }

    fn enter(&self, lane: Operation::Lane, member: Member<Operation>) -> Result<Entered, Error> {
        let runtime = Handle::current();
        let mut traffic = self.0.traffic();
        let Traffic { lanes, done } = &mut *traffic;
        match lanes.entry(lane) {
            Entry::Vacant(vacant) => {
                let turn = Turn { shared: self.0.clone(), lane, runtime: runtime.clone() };
                let led = Led::new(turn.run(vec![member]).in_current_span());
                vacant.insert(Line { waiting: VecDeque::new(), led: Some(led.clone()) });
                Ok(Entered::First(Leader { led, runtime }))
            }
            Entry::Occupied(mut occupied) => {
                let line = occupied.get_mut();
                if line.waiting.len() >= LANE_CALL_COUNT_MAX || done.waiting_count >= CALL_COUNT_MAX {
                    return Err(Error::Overloaded { what: "a place in line", waited: Duration::ZERO });
                }
                line.waiting.push_back(member);
                done.waiting_count += 1;
                let led = line.led.take();
                // Whoever runs a turn may hold its place and want the traffic.
                drop(traffic);
                if let Some(led) = led {
                    led.set_off(&runtime);
                }
                Ok(Entered::Behind)
            }
        }
    }
}

impl<Operation: Coalesce> Shared<Operation> {
    fn traffic(&self) -> MutexGuard<'_, Traffic<Operation>> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to be under way in a lane. However it ends, the next calls have it, or nobody.
struct Turn<Operation: Coalesce> {
    shared: Arc<Shared<Operation>>,
    lane: Operation::Lane,
    runtime: Handle,
}

impl<Operation: Coalesce> Drop for Turn<Operation> {
    fn drop(&mut self) {
        let (next, too_late) = self.shared.traffic().end_turn(self);
        for member in too_late {
            let waited = member.since.elapsed();
            member.answer(Err(Error::Overloaded { what: "the calls before it", waited }));
        }
        if let Some(members) = next {
            let turn = Turn { shared: self.shared.clone(), lane: self.lane, runtime: self.runtime.clone() };
            self.runtime.spawn(turn.run(members));
        }
    }
}

impl<Operation: Coalesce> Traffic<Operation> {
    /// The calls that leave next, and those that have waited too long; the lane is closed when none leave.
    fn end_turn(&mut self, turn: &Turn<Operation>) -> (Option<Vec<Member<Operation>>>, Vec<Member<Operation>>) {
        let Entry::Occupied(mut lane) = self.lanes.entry(turn.lane) else { return (None, Vec::new()) };
        let Line { waiting, led } = lane.get_mut();
        *led = None;
        let waiting_count = waiting.len();
        let (next, too_late) = take(waiting, &turn.shared.operation, turn.shared.wait_max);
        self.done.waiting_count -= waiting_count - waiting.len();
        if next.is_empty() {
            lane.remove();
            return (None, too_late);
        }
        (Some(next), too_late)
    }
}

/// Takes the calls that may share the next statement, first come first; passes over those whose caller is gone, and leaves
/// in line those that have to be distinct from one that is taken.
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

impl<Operation: Coalesce> Turn<Operation> {
    async fn run(self, mut members: Vec<Member<Operation>>) {
        let operation = &self.shared.operation;
        {
            let done = &mut self.shared.traffic().done;
            done.statement_count += 1;
            done.call_count += members.len() as u64;
        }
        if members.len() > 1 {
            tracing::debug!(call_count = members.len(), "leave together");
            let Err((error, rest)) = operation.send_together(self.lane, members).await else { return };
            // No call can be sent to a database that does not answer, or wait less for a lock than all of them did.
            if !matches!(error, Error::Internal { .. }) {
                return rest.into_iter().for_each(|member| member.answer(Err(error.clone())));
            }
            // One of them may be the cause, and the others must not suffer for it.
            tracing::warn!(call_count = rest.len(), %error, "sent again one by one");
            members = rest;
        }
        for member in members {
            let answer = operation.send_alone(self.lane, &member.call).await;
            member.answer(answer);
        }
    }
}

/// The lane of a reservation: how its id ends.
pub(crate) fn ending(id: Uuid) -> u16 {
    let [.., high, low] = id.into_bytes();
    u16::from_be_bytes([high, low])
}

/// A new id for a reservation of an item: a UUID of version 7 that ends as the item's id does. What is left to chance and
/// to the generator's counter keeps two ids of one millisecond apart (RFC 9562, 5.7 and 6.2).
pub(crate) fn reservation_id(item_id: Uuid) -> Uuid {
    let mut bytes = Uuid::now_v7().into_bytes();
    bytes[14..].copy_from_slice(&item_id.as_bytes()[14..]);
    Uuid::from_bytes(bytes)
}
