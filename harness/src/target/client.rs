//! Virtual clients: each has one connection (over HTTP/2 one stream of a burst's connection) and makes one call at a time;
//! a crew of them makes a burst.
//! After an unknown a client is retired, because its next call could overtake the one nobody knows about.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::timeout;

use crate::{
    history::{Answer, Call, Event, ItemView, Outcome, Reason, Recorder, Request, UNSENT, overlap},
    target::{
        connection::{Connection, Response},
        deployment::Target,
        dialect::Unit,
        http2::{self, End},
    },
};

/// How long after one another a connection is tried, where it cannot be opened: the limit of open files, or of those a
/// server has not accepted yet, may be a matter of a moment.
const AGAIN_MS: [u64; 3] = [0, 20, 100];

/// Why a call is not made that this deployment has no route for.
const NO_ROUTE: &str = "this deployment has no such route";

fn unsent(why: &str) -> String {
    format!("{UNSENT}: {why}")
}

/// One virtual client.
pub struct Client {
    target: Target,
    number: u32,
    instance: usize,
    connection: Option<Connection>,
    /// Whether the last answer said that its call was not executed and is to be made again later.
    limited: bool,
}

/// A call that has been written but for its last byte.
struct Loaded {
    id: u64,
    request: Request,
    item: Option<String>,
    written: Instant,
}

impl Loaded {
    /// A deadline that is sent as an instant counts from when it was written; a history counts from the invocation.
    fn counted_from(self, invoked: Instant, unit: Unit) -> Self {
        let Loaded { id, mut request, item, written } = self;
        if let (Request::Reserve { ttl_ms: Some(ttl_ms), .. }, Unit::Instant) = (&mut request, unit) {
            let since = invoked.saturating_duration_since(written);
            let left = Duration::from_millis(*ttl_ms).saturating_sub(since);
            *ttl_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        }
        Loaded { id, request, item, written }
    }
}

impl Client {
    /// A client of one instance; it connects when it first calls.
    pub fn new(target: Target, number: u32, instance: usize) -> Self {
        Client { target, number, instance, connection: None, limited: false }
    }

    /// The run's clock and history.
    pub fn recorder(&self) -> &Recorder {
        self.target.recorder()
    }

    /// Makes one call and waits for its end. A read whose connection was closed under it is made once more: it changes
    /// nothing, and servers close what rests when they please. A call that is limited is made again when the deployment
    /// says so.
    pub async fn call(&mut self, request: Request, item: Option<String>) -> Call {
        let reads = matches!(request, Request::GetItem { .. } | Request::GetReservation { .. });
        let mut call = self.once(request.clone(), item.clone()).await;
        while std::mem::take(&mut self.limited) {
            self.target.pace().wait().await;
            call = self.once(request.clone(), item.clone()).await;
        }
        if reads && call.outcome.is_unknown() && call.status.is_none() { self.once(request, item).await } else { call }
    }

    async fn once(&mut self, request: Request, item: Option<String>) -> Call {
        match self.load(request, item).await {
            Err(call) => *call,
            Ok(loaded) => {
                let invoked = Instant::now();
                let released = self.release().await;
                self.finish(loaded, invoked, released).await
            }
        }
    }

    /// Makes one call and closes the connection without waiting for its answer.
    async fn abandon(&mut self, request: Request, item: Option<String>) -> Call {
        match self.load(request, item).await {
            Err(call) => *call,
            Ok(loaded) => {
                let invoked = Instant::now();
                // Whether or not the byte left, nobody can tell what became of it.
                let _ = self.release().await;
                self.connection = None;
                self.record(loaded, invoked, None, None, Outcome::Unknown("abandoned on purpose".to_owned()))
            }
        }
    }

    /// Opens the connection if there is none that may be used.
    async fn warm(&mut self) -> Result<&mut Connection, String> {
        if !self.connection.as_ref().is_some_and(Connection::is_warm) {
            self.connection = None;
        }
        let mut why = "not tried".to_owned();
        for again_ms in AGAIN_MS {
            if self.connection.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(again_ms)).await;
            match timeout(self.target.timeout(), Connection::open(self.target.origin(self.instance))).await {
                Ok(Ok(connection)) => self.connection = Some(connection),
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => return Err("none in time".to_owned()),
            }
        }
        self.connection.as_mut().ok_or(why)
    }

    /// Writes all but the last byte, or says how the call ended already.
    async fn load(&mut self, request: Request, item: Option<String>) -> Result<Loaded, Box<Call>> {
        self.limited = false;
        let id = self.target.recorder().number();
        let mut loaded = Loaded { id, request, item, written: Instant::now() };
        match self.write(&mut loaded).await {
            Ok(()) => Ok(loaded),
            Err(why) => Err(Box::new(self.never_left(loaded, why))),
        }
    }

    /// A server that has not seen the last byte cannot have acted, so what fails here is written once more, on another
    /// connection.
    async fn write(&mut self, loaded: &mut Loaded) -> Result<(), String> {
        let mut why = String::new();
        for _ in 0..2 {
            self.warm().await.map_err(|error| unsent(&error))?;
            loaded.written = Instant::now();
            let bytes = self.target.write(self.instance, &loaded.request).ok_or(NO_ROUTE)?;
            let Some(connection) = &mut self.connection else { continue };
            match connection.load(&bytes).await {
                Ok(()) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
            self.connection = None;
        }
        Err(unsent(&why))
    }

    /// A call that never left did not happen.
    fn never_left(&mut self, loaded: Loaded, why: String) -> Call {
        self.connection = None;
        let call = self.record(loaded, Instant::now(), None, None, Outcome::Unknown(why));
        let evidence = "not all of its bytes were written".to_owned();
        self.target.recorder().record(&Event::Resolved { call: call.id, happened: false, evidence });
        call
    }

    async fn release(&mut self) -> std::io::Result<()> {
        match &mut self.connection {
            Some(connection) => connection.release().await,
            None => Err(std::io::Error::other("no connection")),
        }
    }

    async fn finish(&mut self, loaded: Loaded, invoked: Instant, released: std::io::Result<()>) -> Call {
        let response = match (&mut self.connection, released) {
            (Some(connection), Ok(())) => match timeout(self.target.timeout(), connection.response()).await {
                Err(_) => Err("no answer in time".to_owned()),
                Ok(Err(error)) => Err(error.to_string()),
                Ok(Ok(response)) => Ok(response),
            },
            (_, Err(error)) => Err(error.to_string()),
            (None, _) => Err("no connection".to_owned()),
        };
        match response {
            Err(why) => {
                self.connection = None;
                self.record(loaded, invoked, None, None, Outcome::Unknown(why))
            }
            Ok(response) => {
                let outcome = self.target.read(&loaded.request, &response);
                self.limited = self.target.pace().note(&response);
                if outcome.is_unknown() {
                    self.connection = None;
                }
                self.record(loaded, invoked, Some(response.answered), Some(response.status), outcome)
            }
        }
    }

    /// The end of a call over HTTP/2; none where it never left.
    fn end(&mut self, loaded: Loaded, invoked: Instant, end: Option<Result<Response, End>>) -> Call {
        let (returned, status, outcome) = match end {
            None => return self.never_left(loaded, unsent("over HTTP/2")),
            // The protocol's own "nothing happened, try again".
            Some(Err(End::NotExecuted)) => (Some(Instant::now()), None, Outcome::Refused(Reason::Contention)),
            Some(Err(End::Unknown(why))) => (None, None, Outcome::Unknown(why)),
            Some(Ok(response)) => {
                self.target.pace().note(&response);
                let outcome = self.target.read(&loaded.request, &response);
                (Some(response.answered), Some(response.status), outcome)
            }
        };
        self.record(loaded, invoked, returned, status, outcome)
    }

    fn record(
        &mut self,
        loaded: Loaded,
        invoked: Instant,
        returned: Option<Instant>,
        status: Option<u16>,
        outcome: Outcome,
    ) -> Call {
        let recorder = self.target.recorder();
        let loaded = loaded.counted_from(invoked, self.target.dialect().send.ttl_unit);
        let item = loaded.item.or_else(|| match &outcome {
            Outcome::Ok(Answer::Item(item)) => item.id.clone(),
            Outcome::Ok(Answer::Reservation(reservation)) => reservation.item.clone(),
            _ => None,
        });
        let call = Call {
            id: loaded.id,
            client: self.number,
            instance: u32::try_from(self.instance % self.target.instances()).unwrap_or_default(),
            item,
            request: loaded.request,
            invoked_ns: recorder.ns(invoked),
            returned_ns: returned.map(|returned| recorder.ns(returned)),
            status,
            outcome,
        };
        recorder.record(&Event::Call(Box::new(call.clone())));
        call
    }
}

/// Connections that are kept between bursts.
const RESTING_MAX: usize = 100;

/// Clients by the hundred, their connections kept between rounds.
pub struct Crew {
    target: Target,
    clients: Vec<Client>,
    /// Retired clients leave their number behind.
    numbers: u32,
}

/// What a burst looked like from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// From the first released call to the last, in microseconds.
    pub released_us: u64,
    /// How many calls were under way at the fullest moment.
    pub overlapped: usize,
}

impl Crew {
    /// Nobody yet.
    pub fn new(target: Target) -> Self {
        Crew::numbered_from(target, 0)
    }

    /// The same, whose clients count up from another number than those of a crew that calls at the same time.
    pub fn numbered_from(target: Target, numbers: u32) -> Self {
        Crew { target, clients: Vec::new(), numbers }
    }

    /// Closes every connection: the next call of each client opens one.
    pub fn hang_up(&mut self) {
        self.clients.iter_mut().for_each(|client| client.connection = None);
    }

    fn muster(&mut self, count: usize) {
        while self.clients.len() < count {
            let instance = self.clients.len() % self.target.instances();
            self.clients.push(Client::new(self.target.clone(), self.numbers, instance));
            self.numbers += 1;
        }
    }

    /// Connects as many clients as a burst will need, so that no burst waits for a handshake.
    pub async fn warm(&mut self, count: usize) {
        self.muster(count);
        if self.target.http2() {
            // Its connections are a burst's own, and open before anything is released.
            return;
        }
        // A failure shows again, with its call, when the burst is loaded.
        join_all(self.clients.iter_mut().take(count).map(Client::warm)).await;
    }

    /// One call by the first client of an instance, start to end.
    pub async fn call(&mut self, instance: usize, request: Request, item: Option<String>) -> Call {
        let instance = instance % self.target.instances();
        self.muster(instance + 1);
        let call = self.clients[instance].call(request, item).await;
        self.retire(std::slice::from_ref(&call));
        call
    }

    /// Notes an item that was made without a call, as if a call had made it.
    pub fn note(&mut self, request: Request, invoked: Instant, made: Result<String, String>) -> Call {
        self.muster(1);
        let id = self.target.recorder().number();
        let outcome = match made {
            Ok(id) => Outcome::Ok(Answer::Item(ItemView { id: Some(id), ..ItemView::default() })),
            Err(why) => Outcome::Unknown(why),
        };
        let returned = outcome.is_ok().then(Instant::now);
        self.clients[0].record(Loaded { id, request, item: None, written: invoked }, invoked, returned, None, outcome)
    }

    /// One call whose answer nobody waits for.
    pub async fn abandon(&mut self, instance: usize, request: Request, item: Option<String>) -> Call {
        let instance = instance % self.target.instances();
        self.muster(instance + 1);
        let call = self.clients[instance].abandon(request, item).await;
        self.retire(std::slice::from_ref(&call));
        call
    }

    /// Writes every call but for its last byte, waits for `moment`, then writes the last bytes one right after the
    /// other, from one loop: two hundred tasks that wake each other up would leave when the scheduler pleases.
    pub async fn burst(
        &mut self,
        requests: Vec<(Request, Option<String>)>,
        moment: Option<Instant>,
    ) -> (Vec<Call>, Spread) {
        self.muster(requests.len());
        if moment.is_none() {
            self.target.pace().wait().await;
        }
        if self.target.http2() {
            return self.burst_over_http2(requests, moment).await;
        }
        let count = requests.len();
        let loading = self.clients.iter_mut().zip(requests).map(|(client, (request, item))| client.load(request, item));
        let loaded = join_all(loading).await;
        if let Some(moment) = moment {
            tokio::time::sleep_until(moment.into()).await;
        }
        let mut releases = Vec::with_capacity(count);
        for (client, loaded) in self.clients.iter_mut().zip(&loaded) {
            let invoked = Instant::now();
            let released = if loaded.is_ok() { client.release().await } else { Ok(()) };
            releases.push((invoked, released));
        }
        let spread = match (releases.first(), releases.last()) {
            (Some((first, _)), Some((last, _))) => last.duration_since(*first),
            _ => std::time::Duration::ZERO,
        };
        let finishing = self.clients.iter_mut().zip(loaded).zip(releases).map(
            |((client, loaded), (invoked, released))| async move {
                match loaded {
                    Err(call) => *call,
                    Ok(loaded) => client.finish(loaded, invoked, released).await,
                }
            },
        );
        let calls = join_all(finishing).await;
        self.retire(&calls);
        // Some servers close what rests beyond some two hundred, at a moment of their own: none of these is counted on.
        self.clients.iter_mut().skip(RESTING_MAX).for_each(|client| client.connection = None);
        let released_us = u64::try_from(spread.as_micros()).unwrap_or(u64::MAX);
        let overlapped = overlap(&calls);
        (calls, Spread { released_us, overlapped })
    }

    /// Each call is released at an instant of its own, from one loop, always over HTTP/1.1. Answers are read when the last
    /// call has left, so a call may seem to return later than it did, which is safe.
    pub async fn timed_burst(&mut self, calls: Vec<(Request, Option<String>, Instant)>) -> (Vec<Call>, Spread) {
        self.muster(calls.len());
        let instants: Vec<Instant> = calls.iter().map(|(.., at)| *at).collect();
        let loading = self.clients.iter_mut().zip(calls).map(|(client, (request, item, _))| client.load(request, item));
        let loaded = join_all(loading).await;
        let mut order: Vec<usize> = (0..instants.len()).collect();
        order.sort_by_key(|place| instants[*place]);
        let mut releases: Vec<(Instant, std::io::Result<()>)> = instants.iter().map(|at| (*at, Ok(()))).collect();
        for place in order {
            wait_until(instants[place]).await;
            let invoked = Instant::now();
            let released = if loaded[place].is_ok() { self.clients[place].release().await } else { Ok(()) };
            releases[place] = (invoked, released);
        }
        let finishing = self.clients.iter_mut().zip(loaded).zip(releases).map(
            |((client, loaded), (invoked, released))| async move {
                match loaded {
                    Err(call) => *call,
                    Ok(loaded) => client.finish(loaded, invoked, released).await,
                }
            },
        );
        let calls = join_all(finishing).await;
        self.retire(&calls);
        self.clients.iter_mut().skip(RESTING_MAX).for_each(|client| client.connection = None);
        let overlapped = overlap(&calls);
        (calls, Spread { released_us: 0, overlapped })
    }

    /// The same over HTTP/2, on connections of this burst's own: one to an instance, more where its limits want more.
    /// Each is released by one write, so its calls are invoked at one instant; the spread ends with the last write.
    async fn burst_over_http2(
        &mut self,
        requests: Vec<(Request, Option<String>)>,
        moment: Option<Instant>,
    ) -> (Vec<Call>, Spread) {
        let (instances, wait) = (self.target.instances(), self.target.timeout());
        let mut asks: Vec<Vec<_>> = (0..instances).map(|_| Vec::new()).collect();
        let mut loaded = Vec::with_capacity(requests.len());
        for (place, (request, item)) in requests.into_iter().enumerate() {
            let instance = self.clients[place].instance % instances;
            asks[instance].extend(self.target.ask(instance, &request).map(|ask| (place, ask)));
            loaded.push(Loaded { id: self.target.recorder().number(), request, item, written: Instant::now() });
        }
        let loading = asks.into_iter().enumerate();
        let loading = loading.map(|(instance, asks)| http2::load(self.target.origin(instance), asks, wait));
        let armed: Vec<_> = join_all(loading).await.into_iter().flatten().collect();
        if let Some(moment) = moment {
            tokio::time::sleep_until(moment.into()).await;
        }
        let began = Instant::now();
        let mut invoked = vec![began; loaded.len()];
        for (places, connection) in &armed {
            let now = Instant::now();
            places.iter().for_each(|place| invoked[*place] = now);
            // Where it fails, the streams end without an answer.
            let _ = connection.release().await;
        }
        let released_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let finishing = armed.into_iter().map(|(places, connection)| async move {
            let answers = connection.answers(wait).await;
            places.into_iter().zip(answers).collect::<Vec<_>>()
        });
        let mut ends: Vec<Option<Result<Response, End>>> = loaded.iter().map(|_| None).collect();
        for (place, end) in join_all(finishing).await.into_iter().flatten() {
            ends[place] = Some(end);
        }
        let finished = self.clients.iter_mut().zip(loaded).zip(invoked).zip(ends);
        let calls: Vec<Call> =
            finished.map(|(((client, loaded), invoked), end)| client.end(loaded, invoked, end)).collect();
        self.retire(&calls);
        let overlapped = overlap(&calls);
        (calls, Spread { released_us, overlapped })
    }

    fn retire(&mut self, calls: &[Call]) {
        for call in calls.iter().filter(|call| call.outcome.is_unknown()) {
            if let Some(client) = self.clients.iter_mut().find(|client| client.number == call.client) {
                *client = Client::new(self.target.clone(), self.numbers, client.instance);
                self.numbers += 1;
            }
        }
    }
}

/// A timer is late by up to a millisecond, which is all the time there is around a deadline: the rest is spun away.
async fn wait_until(instant: Instant) {
    let coarse = instant.checked_sub(std::time::Duration::from_millis(2)).filter(|coarse| *coarse > Instant::now());
    if let Some(coarse) = coarse {
        tokio::time::sleep_until(coarse.into()).await;
    }
    while Instant::now() < instant {
        std::hint::spin_loop();
    }
}
