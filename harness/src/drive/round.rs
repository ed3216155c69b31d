//! One round of a scenario: an item of its own, the holds on it, the calls made, and the quiet end in which everything
//! must add up, whatever the race's order was.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    check::verdict::{Breach, Layer, Violation},
    database::{
        books::Books,
        log::Log,
        sampler::{Sampler, Watch},
        stage::Stage,
    },
    drive::{
        drawing::Drawing,
        findings::{Findings, Halt},
        hold::{Fate, Hold},
        options::Options,
        steering::Steering,
    },
    history::{ASIDE, Call, Contract, Event, Moved, Outcome, Reason, Request, Seed, Struck, outcome_word, told},
    target::{client::Crew, deployment::Target, dialect::Unit, fleet::Fleet},
};

/// The numbers below are the crew's, those that it hires when a client is retired, and from 1,000,000 the sampler's.
const FIRST_HIRED: u32 = 2_000_000;

/// The stage on which rounds are played, and the round being played.
pub struct Round {
    target: Target,
    crew: Crew,
    sampler: Option<Sampler>,
    watch: Option<Watch>,
    books: Option<Books>,
    witness: Option<Log>,
    expire_sql: Option<String>,
    stager: Option<Stage>,
    fleet: Option<Arc<Fleet>>,
    /// How long an instance may take to answer again after a fault.
    pub(crate) recovery: Duration,
    moved: Moved,
    raced_ns: Option<(u64, u64)>,
    run: String,
    replay_flags: Vec<String>,
    root_seed: u64,
    /// Choices of this round.
    pub seed: Seed,
    /// From 1.
    pub number: u32,
    scenario: &'static str,
    item: String,
    total: i64,
    /// Every call of this round.
    pub calls: Vec<Call>,
    /// Every hold of this round, by id.
    pub holds: BTreeMap<String, Hold>,
    /// Whether the stage is set one call at a time.
    one_by_one: bool,
    /// When the last sweep began.
    pub(crate) swept_ns: u64,
    /// Calls without a clear answer of which it was found out whether they happened.
    pub(crate) settled: HashMap<u64, bool>,
    /// What was made to fail on purpose.
    pub(crate) struck: Vec<Struck>,
    /// Units held by reservations whose answer was lost, and with it their id.
    pub(crate) ghosts: i64,
    /// The number of the next client that is no member of the crew.
    hired: u32,
    /// Whether the scenario states every answer, so that an internal error of the service is none of them.
    pub(crate) exact: bool,
    /// Whether the round ends only when every short hold has lapsed.
    pub(crate) waits: bool,
    /// Where the scenario's rounds aim, learnt from round to round.
    pub steering: Steering,
    /// What this round brought to light.
    pub findings: Findings,
    customers: u64,
    items: u64,
}

impl Round {
    /// A stage for one deployment.
    pub async fn stage(target: Target, options: &Options) -> Result<Self, String> {
        let (books, watcher) = match &options.database_url {
            None => (None, None),
            Some(url) => {
                let mapping = target.dialect().database.as_ref();
                (Some(Books::open_as(url, mapping).await?), Some(Books::open_as(url, mapping).await?))
            }
        };
        let witness = match &options.database_url {
            Some(url) if options.witness => {
                Some(Log::open(url, &options.run, target.dialect().database.as_ref()).await?)
            }
            _ => None,
        };
        let stager = match (&options.database_url, &options.stage) {
            (Some(url), Some((sql, items))) => Some(Stage::open(url, sql, items).await?),
            _ => None,
        };
        Ok(Round {
            witness,
            crew: Crew::new(target.clone()),
            sampler: Some(Sampler::new(&target, watcher)),
            target,
            watch: None,
            books,
            expire_sql: options.expire_sql.clone(),
            stager,
            fleet: options.fleet.clone(),
            recovery: options.recovery,
            struck: Vec::new(),
            ghosts: 0,
            hired: FIRST_HIRED,
            moved: Moved::new(),
            raced_ns: None,
            run: options.run.clone(),
            replay_flags: options.replay_flags.clone(),
            root_seed: options.seed,
            seed: Seed::new(options.seed),
            number: 0,
            scenario: "",
            item: String::new(),
            total: 0,
            calls: Vec::new(),
            holds: BTreeMap::new(),
            one_by_one: false,
            swept_ns: 0,
            settled: HashMap::new(),
            exact: false,
            waits: true,
            steering: Steering::default(),
            findings: Findings::default(),
            customers: 0,
            items: 0,
        })
    }

    /// Clears the stage for a round.
    pub fn begin(&mut self, scenario: &'static str, number: u32) {
        self.seed = Seed::new(self.root_seed).fork(scenario, u64::from(number));
        if self.scenario != scenario {
            self.steering = Steering::default();
        }
        self.scenario = scenario;
        self.number = number;
        self.calls.clear();
        self.holds.clear();
        self.settled.clear();
        self.swept_ns = 0;
        self.moved.clear();
        self.struck.clear();
        self.ghosts = 0;
        self.raced_ns = None;
        self.findings = Findings::default();
        self.target.recorder().record(&Event::Round { scenario: scenario.to_owned(), round: number });
    }

    /// Clears the stage for good.
    pub async fn leave(mut self) -> Result<(), String> {
        match self.witness.take() {
            Some(witness) => witness.leave().await,
            None => Ok(()),
        }
    }

    /// Every committed state of the round's item, where the database's log is read.
    pub(crate) async fn testify(&mut self) -> Result<(), Halt> {
        let Some(witness) = &mut self.witness else { return Ok(()) };
        let (states, violations) = witness.replay(&self.item).await.map_err(Halt::Undecided)?;
        self.findings.states += states;
        let now = self.target.recorder().now_ns();
        self.findings.violations.extend(violations.into_iter().map(|violation| violation.at(now)));
        if states == 0 {
            self.findings.undecided.push("the database's log does not speak of the item".to_owned());
        }
        Ok(())
    }

    /// Whether the ledger can be read.
    pub fn has_ledger(&self) -> bool {
        self.books.as_ref().is_some_and(|books| books.has_ledger)
    }

    /// The deployment under test.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The service's books, where they can be read.
    pub fn books(&mut self) -> Option<&mut Books> {
        self.books.as_mut().filter(|books| books.has_ledger)
    }

    /// One call outside the race.
    pub async fn call(&mut self, instance: usize, request: Request) -> Call {
        let item = Some(self.item.clone()).filter(|_| request != Request::Expire);
        let call = self.crew.call(instance, request, item).await;
        self.absorb(std::slice::from_ref(&call));
        if !call.is_contended() {
            return call;
        }
        let answered = self.persist(vec![call.clone()]).await;
        answered.into_iter().next().unwrap_or(call)
    }

    /// Creates the round's item.
    pub async fn create_item(&mut self, total: i64) -> Result<(), Halt> {
        self.total = total;
        let call = self.created(total).await;
        self.calls.push(call.clone());
        match call.outcome {
            Outcome::Ok(_) => self.item = call.item.unwrap_or_default(),
            outcome if outcome.is_unsent() => return Err(Halt::Unreachable(self.unreachable())),
            outcome => {
                return Err(Halt::PlainPath(format!(
                    "an item of {total} could not be created: {}",
                    told(&outcome, call.status)
                )));
            }
        }
        Ok(())
    }

    /// Asks for an item; it is the round's only where the caller makes it so.
    pub(crate) async fn created(&mut self, total: i64) -> Call {
        // Some services take each name once.
        self.items += 1;
        let name = format!("harness_{}_{}_{}", self.run, self.scenario, self.items);
        let Some(stager) = &mut self.stager else {
            return self.crew.call(self.number as usize, Request::CreateItem { name, total, key: None }, None).await;
        };
        let invoked = Instant::now();
        // An item that is used again is another one in the history.
        let staged = stager.item(&name, total).await.map(|id| self.target.renamed(&id, self.items));
        self.crew.note(Request::CreateItem { name, total, key: None }, invoked, staged)
    }

    /// One call that is no part of the round's story: about another item, or one that must not have happened.
    pub(crate) async fn aside(&mut self, instance: usize, request: Request) -> Call {
        self.crew.call(instance, request, Some(ASIDE.to_owned())).await
    }

    /// Calls released together that are no part of the round's story.
    pub(crate) async fn burst_aside(&mut self, requests: Vec<Request>) -> Vec<Call> {
        self.crew.warm(requests.len()).await;
        let requests = requests.into_iter().map(|request| (request, Some(ASIDE.to_owned()))).collect();
        let (calls, spread) = self.crew.burst(requests, None).await;
        self.findings.spreads.push(spread);
        calls
    }

    fn unreachable(&self) -> String {
        format!("nobody answers at {}", self.target.urls().join(", "))
    }

    /// A reservation of the round's item by a customer of its own.
    pub fn reserve(&mut self, quantity: i64, ttl_ms: Option<u64>) -> Request {
        self.customers += 1;
        // Some services take a name, some only a UUID; this is both.
        let customer = format!("01900000-0000-4000-8000-{:012}", self.customers);
        Request::Reserve { item: self.item.clone(), customer, quantity, ttl_ms, key: None }
    }

    /// One unit or more, up to so many, or to as many as one reservation may hold here.
    pub fn units(&mut self, most: i64) -> i64 {
        let most = self.target.dialect().quantity(most);
        1 + self.seed.below(u64::try_from(most).unwrap_or(1)) as i64
    }

    /// Makes holds, all at once, each of which must succeed: the stage, not yet the race.
    pub async fn hold(&mut self, wanted: &[(i64, Option<u64>)]) -> Result<Vec<Hold>, Halt> {
        let requests = wanted.iter().map(|(quantity, ttl_ms)| self.reserve(*quantity, *ttl_ms)).collect();
        let calls = self.set_stage(requests).await;
        self.shorten(wanted, &calls).await?;
        let mut holds = Vec::with_capacity(calls.len());
        for call in calls {
            match call.outcome.reservation().and_then(|view| view.id.as_ref()).and_then(|id| self.holds.get(id)) {
                Some(hold) => holds.push(hold.clone()),
                None if call.outcome.is_unknown() => {
                    self.one_by_one = true;
                    let told = told(&call.outcome, call.status);
                    return Err(Halt::Spoilt(format!("a reservation got no answer: {told}")));
                }
                None if self.came_too_late(&call) => {
                    return Err(Halt::Spoilt("a deadline had passed when its reservation arrived".to_owned()));
                }
                None => return Err(self.stage_refused(&call)),
            }
        }
        Ok(holds)
    }

    /// A deadline that is sent as an instant may have passed on the way, on a busy machine.
    fn came_too_late(&self, call: &Call) -> bool {
        let instant = self.target.dialect().send.ttl_unit == Unit::Instant;
        let short = matches!(call.request, Request::Reserve { ttl_ms: Some(_), .. });
        instant && short && call.outcome.is_refused_for(Reason::Invalid)
    }

    /// All at once; or one by one, where a service was seen to fail calls that meet: the stage is not yet the race.
    async fn set_stage(&mut self, requests: Vec<Request>) -> Vec<Call> {
        if !self.one_by_one {
            return self.burst(requests, None).await;
        }
        let mut calls = Vec::with_capacity(requests.len());
        for (instance, request) in requests.into_iter().enumerate() {
            calls.push(self.call(instance, request).await);
        }
        calls
    }

    /// The stage's holds fit, so one that is refused for want of units is a fault of its own.
    fn stage_refused(&mut self, call: &Call) -> Halt {
        let what =
            format!("a reservation was refused although its units were free: {}", told(&call.outcome, call.status));
        if call.is_contended() {
            return Halt::Undecided(what);
        }
        if !call.outcome.is_refused_for(Reason::InsufficientAvailability) {
            return Halt::PlainPath(what);
        }
        self.expect(false, || what.clone(), std::slice::from_ref(call));
        Halt::Undecided(what)
    }

    /// Moves deadlines by SQL, where no caller can set a short one.
    async fn shorten(&mut self, wanted: &[(i64, Option<u64>)], calls: &[Call]) -> Result<(), Halt> {
        let (Some(sql), Some(books), false) =
            (&self.expire_sql, &mut self.books, self.target.dialect().short_deadlines())
        else {
            return Ok(());
        };
        for ((_, ttl_ms), call) in wanted.iter().zip(calls) {
            let id = call.outcome.reservation().and_then(|view| view.id.as_ref());
            let (Some(ttl_ms), Some(hold)) = (ttl_ms, id.and_then(|id| self.holds.get_mut(id))) else { continue };
            let recorder = self.target.recorder();
            let before = recorder.now_ns();
            books.move_deadline(sql, &hold.id, *ttl_ms).await.map_err(Halt::Undecided)?;
            let (first_ns, last_ns) = (before + ttl_ms * 1_000_000, recorder.now_ns() + ttl_ms * 1_000_000);
            hold.lapses_ns = Some((first_ns, last_ns));
            recorder.record(&Event::Deadline { reservation: hold.id.clone(), first_ns, last_ns });
            self.moved.insert(hold.id.clone(), (first_ns, last_ns));
        }
        Ok(())
    }

    /// Whether a hold can be made to lapse within a race.
    pub fn short_deadlines(&self) -> bool {
        self.target.dialect().short_deadlines() || self.books.is_some() && self.expire_sql.is_some()
    }

    pub(crate) async fn burst(&mut self, requests: Vec<Request>, moment: Option<Instant>) -> Vec<Call> {
        self.crew.warm(requests.len()).await;
        let (calls, spread) = self.crew.burst(self.about_the_item(requests), moment).await;
        self.findings.spreads.push(spread);
        self.absorb(&calls);
        self.persist(calls).await
    }

    /// Calls released together, once, whatever they are answered.
    pub(crate) async fn send(&mut self, requests: Vec<Request>) -> Vec<Call> {
        let (calls, _) = self.crew.burst(self.about_the_item(requests), None).await;
        self.absorb(&calls);
        calls
    }

    fn about_the_item(&self, requests: Vec<Request>) -> Vec<(Request, Option<String>)> {
        let of = |request: &Request| Some(self.item.clone()).filter(|_| *request != Request::Expire);
        requests.into_iter().map(|request| (request.clone(), of(&request))).collect()
    }

    /// Counts calls that were told to come again; that they came and were answered does not show it.
    pub(crate) fn note_contention(&mut self, call: &Call, count: usize) {
        let word = format!("{} {}", call.request.verb(), outcome_word(&call.outcome));
        *self.findings.outcomes.entry(word).or_default() += count as u64;
    }

    /// The race proper: all calls released together (at `moment`, if given), a sampler reading meanwhile.
    pub async fn race(&mut self, requests: Vec<Request>, moment: Option<Instant>) -> Result<Vec<Call>, Halt> {
        // The stage's own bursts are no evidence of the race's.
        self.findings.spreads.clear();
        if let Some(sampler) = self.sampler.take() {
            self.watch = Some(sampler.watch(self.item.clone()));
        }
        let from_ns = self.target.recorder().now_ns();
        let requests = self.offered(requests, |request| request);
        let calls = self.burst(requests, moment).await;
        self.raced_ns = Some((from_ns, self.target.recorder().now_ns()));
        self.count(&calls);
        if !calls.is_empty() && calls.iter().all(|call| call.outcome.is_unsent()) {
            return Err(Halt::Unreachable(self.unreachable()));
        }
        Ok(calls)
    }

    /// The same where each call leaves at an instant of its own, on the run's clock.
    pub async fn race_at(&mut self, requests: Vec<(Request, i64)>) -> Result<Vec<Call>, Halt> {
        self.findings.spreads.clear();
        if let Some(sampler) = self.sampler.take() {
            self.watch = Some(sampler.watch(self.item.clone()));
        }
        let of = |request: &Request| Some(self.item.clone()).filter(|_| *request != Request::Expire);
        let requests: Vec<_> = self.offered(requests, |(request, _)| request);
        let timed = requests.into_iter().map(|(request, at_ns)| {
            let at = self.target.recorder().instant(u64::try_from(at_ns).unwrap_or_default());
            (request.clone(), of(&request), at)
        });
        let timed = timed.collect();
        let from_ns = self.target.recorder().now_ns();
        let (calls, spread) = self.crew.timed_burst(timed).await;
        self.findings.spreads.push(spread);
        self.absorb(&calls);
        let calls = self.persist(calls).await;
        self.raced_ns = Some((from_ns, self.target.recorder().now_ns()));
        self.count(&calls);
        Ok(calls)
    }

    /// Bursts that each leave at an instant of their own, whether or not those before have their answers. Nothing is read
    /// meanwhile, and no call is repeated.
    pub(crate) async fn bursts(&mut self, bursts: Vec<(Instant, Vec<Request>)>) -> Vec<Call> {
        let from_ns = self.target.recorder().now_ns();
        let mut crews = Vec::with_capacity(bursts.len());
        for (_, requests) in &bursts {
            let mut crew = Crew::numbered_from(self.target.clone(), self.hired);
            // A retired client's number is not given again.
            self.hired += 2 * u32::try_from(requests.len()).unwrap_or_default();
            crew.warm(requests.len()).await;
            crews.push(crew);
        }
        let sent = crews.iter_mut().zip(bursts).map(|(crew, (at, requests))| {
            let requests = self.about_the_item(requests);
            async move {
                tokio::time::sleep_until(at.into()).await;
                crew.burst(requests, Some(at)).await
            }
        });
        let mut calls = Vec::new();
        for (burst, spread) in futures::future::join_all(sent).await {
            self.findings.spreads.push(spread);
            self.absorb(&burst);
            calls.extend(burst);
        }
        // Those of the crew rested meanwhile, and may have been cut without a word.
        self.crew.hang_up();
        self.raced_ns = Some((from_ns, self.target.recorder().now_ns()));
        self.count(&calls);
        calls
    }

    /// The instances, where the harness started them itself.
    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.fleet.clone()
    }

    /// Without sweeps, where the deployment has no route for them.
    fn offered<T>(&self, mut calls: Vec<T>, request: impl Fn(&T) -> &Request) -> Vec<T> {
        if self.target.dialect().routes.expire.is_empty() {
            calls.retain(|call| *request(call) != Request::Expire);
        }
        calls
    }

    /// So many holds that live on beside the raced ones; none where every hold lapses within the race.
    pub fn others(&self, count: usize) -> usize {
        if self.target.dialect().fixed_ttl_ms().is_some() { 0 } else { count }
    }

    /// Calls that the service answered with an internal error, where the scenario states every answer.
    pub(crate) fn expect_no_internal_errors(&mut self) {
        let mut failed: BTreeMap<u16, Vec<Call>> = BTreeMap::new();
        for call in &self.calls {
            let odd = matches!(call.request, Request::ReserveOdd { .. })
                || matches!(call.request, Request::Reserve { quantity, .. } if !(1..=self.total).contains(&quantity));
            if let (Some(status @ 500..), true, false) = (call.status, call.outcome.is_unknown(), odd)
                && !matches!(status, 502 | 504)
            {
                failed.entry(status).or_default().push(call.clone());
            }
        }
        let of = self.calls.len();
        for (status, calls) in failed {
            let what = || format!("{} of {of} calls were answered {status}", calls.len());
            self.expect(false, what, &calls);
        }
    }

    /// Counts answers of the race proper, for the table.
    pub(crate) fn count(&mut self, calls: &[Call]) {
        for call in calls {
            let word = format!("{} {}", call.request.verb(), outcome_word(&call.outcome));
            *self.findings.outcomes.entry(word).or_default() += 1;
        }
    }

    /// Ends the sampler's watch and keeps what it saw.
    pub async fn end_watch(&mut self) -> Result<(), Halt> {
        let Some(watch) = self.watch.take() else { return Ok(()) };
        let (sampler, seen) = watch.end().await.map_err(Halt::Undecided)?;
        self.sampler = Some(sampler);
        self.findings.samples.0 += seen.calls.len();
        self.findings.samples.1 += seen.statements;
        self.findings.violations.extend(seen.violations);
        self.findings.undecided.extend(seen.failure);
        self.calls.extend(seen.calls);
        Ok(())
    }

    /// Notes what calls say about holds.
    pub(crate) fn absorb(&mut self, calls: &[Call]) {
        let unsent: Vec<&Call> = calls.iter().filter(|call| call.outcome.is_unsent()).collect();
        if let Some(first) = unsent.first() {
            let why = told(&first.outcome, None);
            self.findings.undecided.push(format!("{} calls never left: {why}", unsent.len()));
            self.settled.extend(unsent.iter().map(|call| (call.id, false)));
        }
        let behaviour = self.target.dialect().behaviour.clone();
        for call in calls {
            if let (Request::Reserve { quantity, ttl_ms, .. }, Some(view)) = (&call.request, call.outcome.reservation())
            {
                let asked = ttl_ms.filter(|_| self.target.dialect().sets_deadlines());
                if let Some(hold) = Hold::made(call, view, *quantity, asked, &behaviour) {
                    self.holds.entry(hold.id.clone()).or_insert(hold);
                }
            } else if let Some(hold) = call.request.reservation().and_then(|id| self.holds.get_mut(id)) {
                hold.told(call);
            }
        }
        self.calls.extend_from_slice(calls);
    }

    /// Calls that were told to come again leave a race undecided: they took nothing, and what they would have taken is
    /// not known.
    pub fn contended(&mut self, calls: &[Call]) {
        let contended = calls.iter().filter(|call| call.outcome.is_refused_for(Reason::Contention)).count();
        if contended > 0 {
            self.findings.undecided.push(format!("{contended} calls were told to try again"));
        }
    }

    /// The shortest deadline at or above the wish that can be set here.
    pub fn ttl_ms(&self, wished_ms: u64) -> u64 {
        let dialect = self.target.dialect();
        // A stage that is set one by one takes longer, and its first deadline must not pass meanwhile.
        let wished_ms = if self.one_by_one { 6 * wished_ms } else { wished_ms };
        if dialect.short_deadlines() { dialect.ttl_ms(wished_ms) } else { wished_ms }
    }

    /// A call whose answer nobody waits for: the connection is closed as soon as the last byte has left.
    pub async fn abandon(&mut self, instance: usize, request: Request) {
        let call = self.crew.abandon(instance, request, Some(self.item.clone())).await;
        self.absorb(std::slice::from_ref(&call));
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Notes that something happened which must happen at least once.
    pub fn saw(&mut self, what: &'static str) {
        self.findings.seen.insert(what);
    }

    /// What no call may be answered; when it is not met, these calls show it.
    pub fn expect(&mut self, met: bool, what: impl FnOnce() -> String, calls: &[Call]) {
        self.expect_no(Breach::AnsweredWhatIsForbidden, met, what, calls);
    }

    /// The same where something else than an answer is at stake.
    pub fn expect_no(&mut self, breach: Breach, met: bool, what: impl FnOnce() -> String, calls: &[Call]) {
        if !met {
            let shown = calls.iter().map(|call| call.id);
            let mut violation = Violation::new(Layer::Expectation, breach, what()).shown_by(shown);
            violation.instant_ns = calls.iter().filter_map(|call| call.returned_ns).max();
            self.findings.violations.push(violation);
        }
    }

    /// Waits until every short hold has surely lapsed.
    pub async fn wait_for_deadlines(&mut self) {
        let soon = self.target.recorder().now_ns() + Duration::from_secs(30).as_nanos() as u64;
        let last = self
            .holds
            .values()
            .filter_map(|hold| hold.lapses_ns.map(|(_, last)| last.saturating_add(hold.rounding_ns)))
            .filter(|last| *last < soon)
            .max();
        if let Some(last) = last {
            let after = self.target.recorder().instant(last) + Duration::from_millis(5);
            tokio::time::sleep_until(after.into()).await;
        }
    }

    /// Units sold, units in live holds, as every answer so far implies.
    pub fn tally(&self) -> (i64, i64) {
        let now = self.target.recorder().now_ns();
        let sum = |wanted: Fate| -> i64 {
            self.holds.values().filter(|hold| hold.fate(now) == wanted).map(|hold| hold.quantity).sum()
        };
        (sum(Fate::Confirmed), sum(Fate::Held) + self.ghosts)
    }

    /// Deadlines that were moved by SQL.
    pub fn moved(&self) -> &Moved {
        &self.moved
    }

    /// The round as it was, to be drawn.
    pub fn drawing(&self, violation: Option<&Violation>) -> Option<Drawing> {
        let contract = Contract::from(self.target.dialect());
        let drawing = Drawing::of(&self.calls, contract, &self.moved, self.raced_ns, violation)?;
        Some(Drawing { round: self.number, ..drawing }.struck(&self.struck))
    }

    pub(crate) fn parts(&mut self) -> (&mut Option<Books>, &str, i64) {
        (&mut self.books, &self.item, self.total)
    }

    /// The round's item.
    pub fn item(&self) -> &str {
        &self.item
    }

    /// The scenario being played.
    pub fn scenario(&self) -> &'static str {
        self.scenario
    }

    /// The command that plays this round again, on this deployment.
    pub fn command(&self) -> String {
        self.replay(&format!("{}/{}/{}", self.scenario, self.number, self.root_seed))
    }

    /// The command that plays something again, on this deployment.
    pub(crate) fn replay(&self, what: &str) -> String {
        // Instances that the harness starts are elsewhere next time.
        let urls = self.target.urls().iter().filter(|_| self.fleet.is_none());
        let urls = urls.map(|url| format!("--url {}", url.trim_end_matches('/')));
        let http2 = self.target.http2().then(|| "--http2".to_owned());
        let flags: Vec<String> = urls.chain(http2).chain(self.replay_flags.iter().cloned()).collect();
        format!("stockhold-harness replay {what} {}", flags.join(" "))
    }

    /// The item's total.
    pub fn total(&self) -> i64 {
        self.total
    }
}
