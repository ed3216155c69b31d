//! Plays schedules on a deployment, each on a fresh item and each twice, and asks the model of every answer. A schedule
//! that breaks something is made smaller as long as it still does.
//!
//! What is not controlled: how a service splits its own plain reads of one request, and the scheduler inside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::task::JoinHandle;

use crate::{
    check::verdict::Verdict,
    database::gate::{Arrival, Gatehouse, Ladder, Tables},
    drive::{
        findings::Halt,
        hold::Hold,
        options::Options,
        round::Round,
        schedule::{Schedule, Step, smaller},
        telling::{self, Failure},
    },
    history::{Call, ItemView, Outcome, Request, outcome_word},
    target::{
        client::Client,
        deployment::{Target, own},
    },
};

/// A deadline must leave time for the calls that come before it, and every further millisecond is waited for: it follows
/// what such calls took lately, and is set further away where that was not enough.
const TTL_MS: u64 = 40;
const TTL_MS_MIN: u64 = 12;
const TTL_MS_MAX: u64 = 1_300;
/// After a deadline has surely passed, a little more.
const MARGIN: Duration = Duration::from_millis(2);
/// How many smaller schedules are tried before the smallest one found is told.
const SHRINKS_MAX: usize = 60;
/// How often the smallest one is played again, to say how reliably it fails.
const AGAIN: u32 = 3;
/// The crew and the samplers count from elsewhere.
const CLIENT_NUMBERS_FROM: u32 = 2_000_000;

/// What is told while schedules are played.
pub trait Watcher {
    /// So many of so many are done.
    fn played(&mut self, done: usize, of: usize);
}

/// What one play of a schedule came to, ids and times aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Played {
    /// Each call's answer, in the order of the schedule; `*` marks a call that was seen to wait, and `?` stands for an
    /// answer that the gates did not decide.
    pub answers: Vec<String>,
    /// What the item said at the end.
    pub end: String,
}

/// One schedule and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The schedule, as it is typed.
    pub schedule: String,
    /// Its first play, or what two of three came to.
    #[serde(flatten)]
    pub played: Played,
    /// Whether the second play was another.
    pub unsteady: bool,
}

/// What an exploration came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explored {
    /// Every schedule played.
    pub lines: Vec<Line>,
    /// Calls that were to stop at a gate: those seen to wait, those that needed nothing it holds, and those that
    /// waited where the database does not see it.
    pub waited: usize,
    /// See `waited`.
    pub passed: usize,
    /// See `waited`.
    pub unseen: usize,
    /// Calls that waited again, with another statement, behind calls that were to come after them: both orders are
    /// possible, so what such a schedule came to is judged and not written down.
    pub again: usize,
    /// Why something is undecided, each reason once.
    pub undecided: BTreeSet<String>,
    /// The smallest schedule that broke something, told.
    pub failure: Option<Failure>,
    /// How long it took.
    pub took_ms: u64,
}

impl Explored {
    /// Broken, if anything was; undecided, if nothing was played, nothing was ever seen to wait, or something could not
    /// be told.
    pub fn verdict(&self) -> Verdict {
        if self.failure.is_some() {
            Verdict::Broken
        } else if self.lines.is_empty() || self.waited == 0 || !self.undecided.is_empty() {
            Verdict::Undecided
        } else {
            Verdict::Held
        }
    }

    /// Schedules whose two plays differed: the deployment left something to chance that the gates do not control.
    pub fn unsteady(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.unsteady)
    }
}

/// The stage for schedules.
pub struct Explorer {
    round: Round,
    gates: Gatehouse,
    target: Target,
    /// Clients at rest, by instance.
    idle: Vec<Vec<Client>>,
    /// Whose turn it is.
    turn: usize,
    numbers: u32,
    plays: u32,
    ttl_ms: u64,
    explored: Explored,
}

/// A call on its way, and the client that makes it.
type Sent = JoinHandle<(Client, Call)>;

/// Why a play is to be made again, or not at all.
enum Stop {
    /// The deadline came before the calls that were to precede it.
    TooLate,
    Halt(Halt),
    Gate(String),
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        Stop::Halt(halt)
    }
}

impl Explorer {
    /// A stage on this deployment and its database.
    pub async fn stage(target: &Target, options: &Options, tables: Tables) -> Result<Self, String> {
        let url = options.database_url.as_deref().ok_or("gates need --database-url")?;
        Ok(Explorer {
            round: Round::stage(target.clone(), options).await?,
            gates: Gatehouse::open(url, tables).await?,
            target: target.clone(),
            idle: (0..target.instances()).map(|_| Vec::new()).collect(),
            turn: 0,
            numbers: CLIENT_NUMBERS_FROM,
            plays: 0,
            ttl_ms: TTL_MS,
            explored: Explored::default(),
        })
    }

    /// Plays every schedule twice, a third time where the two differ, up to the first that breaks something. Schedules with
    /// a deadline are left out where none can be set.
    pub async fn explore(mut self, schedules: &[Schedule], watcher: &mut dyn Watcher) -> Result<Explored, Halt> {
        let began = Instant::now();
        let deadlines = self.round.short_deadlines();
        let playable = |schedule: &&Schedule| deadlines || !schedule.holds.iter().any(|hold| hold.lapsing);
        let playable: Vec<&Schedule> = schedules.iter().filter(playable).collect();
        if playable.len() < schedules.len() {
            let what = format!("{} schedules need a short deadline", schedules.len() - playable.len());
            self.explored.undecided.insert(format!("{what}, which this deployment cannot set (--expire-sql can)"));
        }
        for (index, schedule) in playable.iter().enumerate() {
            let first = self.play(schedule).await?;
            let mut failure = self.broken();
            let second = if failure.is_none() { self.play(schedule).await? } else { None };
            failure = failure.or_else(|| self.broken());
            if let Some(failure) = failure {
                self.explored.failure = Some(self.shrink(schedule, failure).await);
                break;
            }
            if let (Some(first), Some(second)) = (first, second) {
                let unsteady = first != second;
                // A connection that is used for the first time prepares its statements first, which may queue by itself: what
                // a third play agrees with is told.
                let third = if unsteady { self.play(schedule).await? } else { None };
                if let Some(failure) = self.broken() {
                    self.explored.failure = Some(self.shrink(schedule, failure).await);
                    break;
                }
                let played = if third.as_ref() == Some(&second) { second } else { first };
                self.explored.lines.push(Line { schedule: schedule.to_string(), played, unsteady });
            }
            watcher.played(index + 1, playable.len());
        }
        self.explored.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(self.explored)
    }

    /// What the play before brought to light.
    fn broken(&self) -> Option<Failure> {
        self.round.findings.violations.first().map(|violation| telling::tell(&self.round, violation))
    }

    /// The smallest schedule found that still breaks something, told, with how often it did. A deployment that no longer
    /// answers ends the search; what was found stays.
    async fn shrink(&mut self, schedule: &Schedule, failure: Failure) -> Failure {
        let (mut smallest, mut told) = (schedule.clone(), failure);
        let again = self.made_smaller(&mut smallest, &mut told).await;
        told.scenario = format!("schedule `{smallest}`");
        told.what = match again {
            Ok(again) => format!("{} (played {AGAIN} times more, it failed {again} times)", told.what),
            Err(_) => format!("{} (the deployment did not answer when it was to be played again)", told.what),
        };
        told.reproduce.pop();
        told.reproduce.push(self.round.replay(&format!("'{smallest}'")));
        told
    }

    /// Makes a schedule smaller as long as it still fails, then says how often it fails.
    async fn made_smaller(&mut self, smallest: &mut Schedule, told: &mut Failure) -> Result<u32, Halt> {
        let mut tried = 0;
        'smaller: loop {
            for candidate in smaller(smallest) {
                tried += 1;
                if tried > SHRINKS_MAX {
                    break 'smaller;
                }
                self.play(&candidate).await?;
                if let Some(failure) = self.broken() {
                    (*smallest, *told) = (candidate, failure);
                    continue 'smaller;
                }
            }
            break;
        }
        let mut again = 0;
        for _ in 0..AGAIN {
            self.play(smallest).await?;
            again += u32::from(self.broken().is_some());
        }
        Ok(again)
    }

    /// One play. Nothing where it could not be played as it is written; the reason is noted.
    async fn play(&mut self, schedule: &Schedule) -> Result<Option<Played>, Halt> {
        loop {
            self.plays += 1;
            self.round.begin("explore", self.plays);
            match self.attempt(schedule).await {
                Ok(played) => {
                    self.explored.undecided.extend(std::mem::take(&mut self.round.findings.undecided));
                    return Ok(Some(played));
                }
                Err(Stop::TooLate) if self.ttl_ms < TTL_MS_MAX => self.ttl_ms = (self.ttl_ms * 2).min(TTL_MS_MAX),
                Err(Stop::TooLate) => {
                    let what = "the calls before a deadline took longer than the longest deadline tried";
                    self.explored.undecided.insert(what.to_owned());
                    return Ok(None);
                }
                Err(Stop::Gate(why)) => {
                    self.explored.undecided.insert(why);
                    return Ok(None);
                }
                Err(Stop::Halt(Halt::Undecided(why) | Halt::Spoilt(why))) => {
                    self.explored.undecided.insert(why);
                    return Ok(None);
                }
                Err(Stop::Halt(halt)) => return Err(halt),
            }
        }
    }

    async fn attempt(&mut self, schedule: &Schedule) -> Result<Played, Stop> {
        self.turn = 0;
        self.round.create_item(schedule.total).await?;
        let ttl_ms = self.round.ttl_ms(self.ttl_ms);
        let wanted: Vec<(i64, Option<u64>)> =
            schedule.holds.iter().map(|hold| (hold.quantity, hold.lapsing.then_some(ttl_ms))).collect();
        let holds = self.round.hold(&wanted).await?;
        let lapsed = !schedule.holds.iter().any(|hold| hold.lapsing);
        let mut stage = Stage { holds, lapsed, slack_ms: None, answers: Vec::new(), is_controlled: true };
        for batch in &schedule.batches {
            if Schedule::is_gated(batch) {
                self.gated(schedule, batch, &mut stage).await?;
            } else {
                for step in batch {
                    self.plain(*step, &mut stage).await?;
                }
            }
        }
        if let Some(slack_ms) = stage.slack_ms {
            let wished = TTL_MS_MIN.max(2 * ttl_ms.saturating_sub(slack_ms));
            // Away at once, back by small steps.
            self.ttl_ms = wished.max(self.ttl_ms - self.ttl_ms / 16);
        }
        self.round.close_quickly().await?;
        let end = if stage.is_controlled { self.end().await } else { NOT_CONTROLLED.to_owned() };
        Ok(Played { answers: stage.answers, end })
    }

    /// A step that nothing meets.
    async fn plain(&mut self, step: Step, stage: &mut Stage) -> Result<(), Stop> {
        let Some(request) = self.request(step, stage) else { return self.pass_deadline(stage).await };
        let call = self.send(request);
        let call = self.received(call).await?;
        stage.answer(&step.to_string(), &call.outcome);
        self.round.absorb(&[call]);
        stage.in_time(&self.target)
    }

    /// Calls that stop at gates, one behind the other; then the gates open.
    async fn gated(&mut self, schedule: &Schedule, batch: &[Step], stage: &mut Stage) -> Result<(), Stop> {
        let item = own(self.round.item()).to_owned();
        let mut ladder = self.gates.close(schedule.gate, &item).await.map_err(Stop::Gate)?;
        let mut sent = Vec::new();
        let arrived = self.park(schedule, batch, stage, &mut ladder, &mut sent).await;
        // Whatever went wrong, the gates open: a call that waits would otherwise wait for the gate's own end.
        let is_back = |index: usize| sent.get(index).is_none_or(|(_, task, _): &(_, Sent, _)| task.is_finished());
        let opened = self.gates.open_all(ladder, is_back).await.map_err(Stop::Gate);
        let again = opened.as_ref().map_or(0, BTreeSet::len);
        self.explored.again += again;
        stage.is_controlled &= again == 0;
        let mut calls = Vec::new();
        for (step, task, arrival) in sent {
            let call = self.received(task).await?;
            let mark = if arrival == Arrival::Waits { "*" } else { "" };
            stage.answer(&format!("{step}{mark}"), &call.outcome);
            calls.push(call);
        }
        calls.sort_by_key(|call| call.returned_ns);
        self.round.absorb(&calls);
        arrived.and(opened.map(drop))
    }

    async fn park(
        &mut self,
        schedule: &Schedule,
        batch: &[Step],
        stage: &mut Stage,
        ladder: &mut Ladder,
        sent: &mut Vec<(Step, Sent, Arrival)>,
    ) -> Result<(), Stop> {
        let mut waits = false;
        for step in batch {
            let Some(request) = self.request(*step, stage) else {
                self.pass_deadline(stage).await?;
                continue;
            };
            if waits && schedule.gate.is_ladder() {
                self.gates.behind(ladder).await.map_err(Stop::Gate)?;
            }
            let task = self.send(request);
            let arrival = self.gates.arrival(ladder, &task).await;
            sent.push((*step, task, arrival.clone().unwrap_or(Arrival::Unseen)));
            match arrival.map_err(Stop::Gate)? {
                Arrival::Waits => self.explored.waited += 1,
                Arrival::Passed => self.explored.passed += 1,
                Arrival::Unseen => self.explored.unseen += 1,
            }
            waits = sent.last().is_some_and(|(_, _, arrival)| *arrival == Arrival::Waits);
            stage.in_time(&self.target)?;
        }
        Ok(())
    }

    /// The request of a step; none for the deadline.
    fn request(&mut self, step: Step, stage: &Stage) -> Option<Request> {
        let hold = |place: usize| stage.holds.get(place).map(|hold| hold.id.clone());
        match step {
            Step::Reserve(quantity) => Some(self.round.reserve(quantity, None)),
            Step::Confirm(place) => Some(Request::Confirm { reservation: hold(place)? }),
            Step::Cancel(place) => Some(Request::Cancel { reservation: hold(place)? }),
            Step::Expire => Some(Request::Expire),
            Step::Deadline => None,
        }
    }

    /// Sends a call on a connection of its own; the calls of a schedule go to the instances in turn.
    fn send(&mut self, request: Request) -> Sent {
        let instance = self.turn % self.idle.len();
        self.turn += 1;
        let mut client = self.idle[instance].pop().unwrap_or_else(|| {
            self.numbers += 1;
            Client::new(self.target.clone(), self.numbers, instance)
        });
        let item = Some(self.round.item().to_owned()).filter(|_| request != Request::Expire);
        tokio::spawn(async move {
            let call = client.call(request, item).await;
            (client, call)
        })
    }

    async fn received(&mut self, task: Sent) -> Result<Call, Stop> {
        let (client, call) = task.await.map_err(|error| Stop::Gate(format!("a call was lost: {error}")))?;
        if !call.outcome.is_unknown() {
            self.idle[call.instance as usize].push(client);
        }
        Ok(call)
    }

    async fn pass_deadline(&mut self, stage: &mut Stage) -> Result<(), Stop> {
        let last = stage.holds.iter().filter_map(|hold| Some(hold.lapses_ns?.1.saturating_add(hold.rounding_ns))).min();
        if let Some(last) = last {
            stage.slack_ms = Some(last.saturating_sub(self.target.recorder().now_ns()) / 1_000_000);
            tokio::time::sleep_until((self.target.recorder().instant(last) + MARGIN).into()).await;
        }
        stage.lapsed = true;
        Ok(())
    }

    /// What the item says when everything is over.
    async fn end(&mut self) -> String {
        let request = Request::GetItem { item: self.round.item().to_owned() };
        let call = self.round.call(0, request).await;
        let Outcome::Ok(_) = call.outcome else { return outcome_word(&call.outcome).to_owned() };
        let ItemView { available, held, confirmed, .. } = call.outcome.item().cloned().unwrap_or_default();
        let shown: BTreeMap<&str, i64> = [("available", available), ("held", held), ("confirmed", confirmed)]
            .into_iter()
            .filter_map(|(word, value)| Some((word, value?)))
            .collect();
        shown.iter().map(|(word, value)| format!("{word} {value}")).collect::<Vec<_>>().join(", ")
    }
}

/// One play on its way.
struct Stage {
    holds: Vec<Hold>,
    /// Whether the deadline has passed, or there is none.
    lapsed: bool,
    /// How long the deadline was waited for.
    slack_ms: Option<u64>,
    answers: Vec<String>,
    /// Whether the gates decided the order of every call so far.
    is_controlled: bool,
}

/// What stands in a transcript for an end that the gates did not decide.
const NOT_CONTROLLED: &str = "not controlled: a call sent another statement behind the later gates";

impl Stage {
    fn answer(&mut self, step: &str, outcome: &Outcome) {
        let outcome = if self.is_controlled { outcome_word(outcome) } else { "?" };
        self.answers.push(format!("{step} {outcome}"));
    }

    /// What was to come before the deadline did so.
    fn in_time(&self, target: &Target) -> Result<(), Stop> {
        let first = self.holds.iter().filter_map(|hold| Some(hold.lapses_ns?.0.saturating_sub(hold.rounding_ns))).min();
        match first {
            Some(first) if !self.lapsed && target.recorder().now_ns() >= first => Err(Stop::TooLate),
            _ => Ok(()),
        }
    }
}
