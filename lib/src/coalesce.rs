//! Calls that wait for one item leave together: one statement answers many, and the database still decides each.
//!
//! What is kept here is performance and nothing else: which calls share a statement. There is no timer. A call that finds
//! few statements of its lane under way leaves at once, alone, by the lean statement of its operation; one that does not
//! waits, and leaves with the others that wait when one of those statements ends.
//!
//! A reserve's lane is its item. A confirm or a cancel names a reservation and not its item, so an id made here ends as
//! its item's id ends ([`reservation_id`]), and the end of the id is the lane. That needs no memory of who reserved what,
//! so it serves the reservations of other processes too, and the calls on one hot item never stand in front of another's.
//! Two items that end alike share a lane, and a statement; it bears that.
//!
//! Every statement runs in a task of its own: a caller that is dropped, or is not polled for a while, holds up nobody.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Instrument;
use uuid::Uuid;

use crate::db::{Config, count_database_time};
use crate::error::Error;

/// Statements of one lane under way at a time: the second is parsed and planned, and waits in the item's queue, while the
/// first is flushed.
const STATEMENT_COUNT_MAX: usize = 2;

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

    /// What no two calls under way in one lane may have in common: the later one waits for the earlier one's outcome.
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
    lanes: HashMap<Operation::Lane, Lane<Operation>>,
    done: Coalesced,
}

struct Lane<Operation: Coalesce> {
    under_way_count: usize,
    /// What the calls under way are distinct by.
    names: HashSet<String>,
    /// In the order in which they came; empty unless as many statements as may be are under way, or those that wait have
    /// to be distinct from one that is.
    waiting: VecDeque<Member<Operation>>,
}

impl<Operation: Coalesce> Lanes<Operation> {
    pub fn new(operation: Operation, config: &Config) -> Self {
        let traffic = Mutex::new(Traffic { lanes: HashMap::new(), done: Coalesced::default() });
        let Config { coalescing, wait_max, .. } = *config;
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
        let (caller, answer) = oneshot::channel();
        self.enter(lane, Member { call, caller, since })?;
        let answer = answer.await;
        count_database_time(since.elapsed());
        answer.unwrap_or_else(|_| Err(Error::Unavailable("the process stopped while the call was under way".into())))
    }

    /// What has been done so far.
    pub fn coalesced(&self) -> Coalesced {
        self.0.traffic().done
    }

    fn enter(&self, lane: Operation::Lane, member: Member<Operation>) -> Result<(), Error> {
        let mut traffic = self.0.traffic();
        let Traffic { lanes, done } = &mut *traffic;
        let entered = lanes.entry(lane).or_insert_with(|| Lane {
            under_way_count: 0,
            names: HashSet::new(),
            waiting: VecDeque::new(),
        });
        let name = self.0.operation.distinct(&member.call).map(str::to_owned);
        let must_wait = name.as_ref().is_some_and(|name| entered.names.contains(name));
        if must_wait || entered.under_way_count == STATEMENT_COUNT_MAX {
            if entered.waiting.len() >= LANE_CALL_COUNT_MAX || done.waiting_count >= CALL_COUNT_MAX {
                return Err(Error::Overloaded { what: "a place in line", waited: Duration::ZERO });
            }
            entered.waiting.push_back(member);
            done.waiting_count += 1;
            return Ok(());
        }
        entered.under_way_count += 1;
        entered.names.extend(name.clone());
        drop(traffic);
        let names = name.into_iter().collect();
        let turn = Turn { shared: self.0.clone(), lane, names, runtime: Handle::current() };
        tokio::spawn(turn.run(vec![member]).in_current_span());
        Ok(())
    }
}

impl<Operation: Coalesce> Shared<Operation> {
    fn traffic(&self) -> MutexGuard<'_, Traffic<Operation>> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of one statement to be under way in a lane. However it ends, the next calls have it, or nobody.
struct Turn<Operation: Coalesce> {
    shared: Arc<Shared<Operation>>,
    lane: Operation::Lane,
    /// What its calls are distinct by.
    names: Vec<String>,
    runtime: Handle,
}

impl<Operation: Coalesce> Drop for Turn<Operation> {
    fn drop(&mut self) {
        let (next, too_late) = self.shared.traffic().end_turn(self);
        for member in too_late {
            let waited = member.since.elapsed();
            member.answer(Err(Error::Overloaded { what: "the calls before it", waited }));
        }
        if let Some((members, names)) = next {
            let turn = Turn { shared: self.shared.clone(), lane: self.lane, names, runtime: self.runtime.clone() };
            self.runtime.spawn(turn.run(members));
        }
    }
}

/// Calls that leave together, and what they are distinct by.
type Leaving<Operation> = (Vec<Member<Operation>>, Vec<String>);

impl<Operation: Coalesce> Traffic<Operation> {
    /// The calls that leave next, and those that have waited too long; the turn is given back when none leave.
    fn end_turn(&mut self, turn: &Turn<Operation>) -> (Option<Leaving<Operation>>, Vec<Member<Operation>>) {
        let Entry::Occupied(mut entry) = self.lanes.entry(turn.lane) else { return (None, Vec::new()) };
        let lane = entry.get_mut();
        lane.names.retain(|name| !turn.names.contains(name));
        let waiting_count = lane.waiting.len();
        let (next, too_late) = lane.take(&turn.shared.operation, turn.shared.wait_max);
        self.done.waiting_count -= waiting_count - lane.waiting.len();
        if !next.0.is_empty() {
            return (Some(next), too_late);
        }
        lane.under_way_count -= 1;
        if lane.under_way_count == 0 {
            entry.remove();
        }
        (None, too_late)
    }
}

impl<Operation: Coalesce> Lane<Operation> {
    /// Takes the calls that may share the next statement, first come first; passes over those whose caller is gone, and
    /// leaves in line those that have to be distinct from one that is taken or under way.
    fn take(&mut self, operation: &Operation, wait_max: Duration) -> (Leaving<Operation>, Vec<Member<Operation>>) {
        let (mut taken, mut names, mut too_late) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = VecDeque::new();
        while taken.len() < BATCH_CALL_COUNT_MAX
            && let Some(member) = self.waiting.pop_front()
        {
            if member.caller.is_closed() {
                continue;
            }
            if member.since.elapsed() > wait_max {
                too_late.push(member);
                continue;
            }
            let name = operation.distinct(&member.call).map(str::to_owned);
            if name.as_ref().is_none_or(|name| self.names.insert(name.clone())) {
                names.extend(name);
                taken.push(member);
            } else {
                left.push_back(member);
            }
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        ((taken, names), too_late)
    }
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
