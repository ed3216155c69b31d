//! Faults on purpose: an instance is killed, paused or cut off, or the database is frozen, while calls are under way. Then
//! each instance must answer again by itself, what was acknowledged must be there once, and what was not acknowledged at
//! most once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, sleep_until, timeout};

use crate::{
    check::verdict::Breach,
    drive::{findings::Halt, round::Round},
    history::{Call, Event, ItemView, Nemesis, Reason, Request, Struck, told},
    target::{
        fleet::Fleet,
        wire::{Flow, Wire},
    },
};

const STOCK: i64 = 60;
/// Calls leave in bunches; the fault strikes one of them.
const BUNCHES: usize = 4;
const BUNCH: usize = 20;
const BUNCH_MS: u64 = 120;
/// Connections are opened and calls are written, but for their last byte, before the first bunch leaves.
const LOADING_MS: u64 = 150;
const LOSING: Duration = Duration::from_millis(30);
const PAUSED: Duration = Duration::from_millis(1_200);
const FROZEN: Duration = Duration::from_millis(2_500);

/// What a round with a fault must have seen.
pub(crate) const STRUCK: &str = "the fault struck while calls were under way";

/// One fault to come.
struct Plan {
    fault: Nemesis,
    instance: usize,
    /// Between the service and its database, where a wire lies there; else between clients and the service.
    behind: bool,
    /// Connections are cut at once, not only when an answer comes.
    at_once: bool,
    at: Instant,
    killed_for: Duration,
}

/// Sells, then confirms and cancels, each while the fault strikes.
pub(crate) async fn play(round: &mut Round, fault: Nemesis) -> Result<(), Halt> {
    round.create_item(STOCK).await?;
    // Every other call has no key: a service that sends a statement again by itself has nothing else to know it by.
    let reserves = (0..BUNCHES * BUNCH).map(|place| if place % 2 == 0 { round.reserve(1, None) } else { keyed(round) });
    let reserves = reserves.collect();
    let calls = under(round, fault, reserves).await?;
    ask_again(round, calls).await;
    are_there(round).await?;
    count_ghosts(round).await;
    let mut live: Vec<String> = round.holds.keys().cloned().collect();
    round.seed.shuffle(&mut live);
    let ends = live.into_iter().enumerate().filter_map(|(place, reservation)| match place % 3 {
        0 => Some(Request::Confirm { reservation }),
        1 => Some(Request::Cancel { reservation }),
        _ => None,
    });
    let ends = ends.collect();
    let calls = under(round, fault, ends).await?;
    ask_again(round, calls).await;
    Ok(())
}

/// One unit, under a key of its own where keys are honoured: then a lost answer can be asked for again.
fn keyed(round: &mut Round) -> Request {
    let mut request = round.reserve(1, None);
    let run = round.run().to_owned();
    if let (Request::Reserve { key, customer, .. }, true) =
        (&mut request, round.target().dialect().behaviour.idempotency_key)
    {
        *key = Some(format!("harness-{run}-{customer}"));
    }
    request
}

/// Makes the calls in bunches, and the fault strikes one of them; returns when every instance answers again.
async fn under(round: &mut Round, fault: Nemesis, requests: Vec<Request>) -> Result<Vec<Call>, Halt> {
    let Some(fleet) = round.fleet() else {
        return Err(Halt::Undecided(
            "nothing can be made to fail: the services were not started by --start".to_owned(),
        ));
    };
    let begin = Instant::now() + Duration::from_millis(LOADING_MS);
    let bunch = requests.len().div_ceil(BUNCHES).max(1);
    let struck_bunch = 1 + round.seed.below(BUNCHES as u64 - 2);
    let plan = Plan {
        fault,
        instance: round.seed.below(fleet.instance_count() as u64) as usize,
        behind: round.seed.below(2) == 0,
        at_once: round.seed.below(3) == 0,
        at: begin + Duration::from_millis(struck_bunch * BUNCH_MS) + Duration::from_micros(round.seed.below(3_000)),
        killed_for: Duration::from_millis(round.seed.below(300)),
    };
    let at = |place: usize| begin + Duration::from_millis(place as u64 * BUNCH_MS);
    let bunches = requests.chunks(bunch).enumerate().map(|(place, bunch)| (at(place), bunch.to_vec())).collect();
    let striking = tokio::spawn({
        let (fleet, target) = (Arc::clone(&fleet), round.target().clone());
        async move {
            let instance = (plan.fault != Nemesis::Delay).then(|| u32::try_from(plan.instance).unwrap_or_default());
            let (begun, ended, met) = strike(&fleet, &plan).await;
            let (from_ns, to_ns) = (target.recorder().ns(begun), target.recorder().now_ns());
            (Struck { fault: plan.fault, instance, from_ns, to_ns }, ended, met)
        }
    });
    let calls = round.bursts(bunches).await;
    let (struck, ended, met) = striking.await.map_err(|error| Halt::Undecided(error.to_string()))?;
    let Struck { from_ns, to_ns, .. } = struck;
    round.target().recorder().record(&Event::Nemesis(struck));
    let under_way =
        |call: &Call| call.invoked_ns <= to_ns && call.returned_ns.is_none_or(|returned| returned >= from_ns);
    if met && calls.iter().any(under_way) {
        round.saw(STRUCK);
    }
    round.struck.push(struck);
    if let Err(why) = ended {
        round.expect_no(Breach::DoesNotRecover, false, || why, &[]);
        // What is played next needs every instance; whether it is there, its own round says.
        let _ = fleet.run(struck.instance.unwrap_or_default() as usize).await;
        return Err(Halt::Undecided("an instance could not be started again".to_owned()));
    }
    for instance in 0..fleet.instance_count() {
        recovers(round, fault, instance).await?;
    }
    Ok(calls)
}

/// Lets the fault strike and end. Says when it began, whether the service could be started again, and whether the fault
/// met anything.
async fn strike(fleet: &Fleet, plan: &Plan) -> (Instant, Result<(), String>, bool) {
    sleep_until(plan.at.into()).await;
    let begun = Instant::now();
    let mut ended = Ok(());
    let mut met = true;
    match plan.fault {
        Nemesis::Kill => {
            fleet.kill(plan.instance);
            sleep(plan.killed_for).await;
            ended = fleet.run(plan.instance).await;
        }
        Nemesis::Pause => {
            fleet.pause(plan.instance);
            sleep(PAUSED).await;
            fleet.resume(plan.instance);
        }
        Nemesis::Cut => {
            let wire = fleet.back(plan.instance).filter(|_| plan.behind).unwrap_or(fleet.front(plan.instance));
            let before = wire.lost();
            wire.set(Flow::LosingAnswers);
            sleep(LOSING).await;
            met = wire.lost() > before;
            if plan.at_once {
                wire.set(Flow::Cut);
                sleep(LOSING).await;
            }
            wire.set(Flow::Passing);
        }
        Nemesis::Delay => {
            let wires = || -> Vec<&Wire> {
                (0..fleet.instance_count())
                    .map(|instance| fleet.back(instance).unwrap_or(fleet.front(instance)))
                    .collect()
            };
            wires().iter().for_each(|wire| wire.set(Flow::Frozen));
            sleep(FROZEN).await;
            wires().iter().for_each(|wire| wire.set(Flow::Passing));
        }
    }
    (begun, ended, met)
}

/// An instance answers a read and a reservation clearly again, in time and without help.
async fn recovers(round: &mut Round, fault: Nemesis, instance: usize) -> Result<(), Halt> {
    let (since, recovery) = (Instant::now(), round.recovery);
    let read = Request::GetItem { item: round.item().to_owned() };
    let write = keyed(round);
    for request in [read, write] {
        let mut last = "it is told to ask again later".to_owned();
        let answered = async {
            loop {
                let call = round.call(instance, request.clone()).await;
                if !call.outcome.is_unknown() && !call.is_contended() {
                    return;
                }
                last = told(&call.outcome, call.status);
                sleep(Duration::from_millis(100)).await;
            }
        };
        if timeout(recovery.saturating_sub(since.elapsed()), answered).await.is_err() {
            let what = format!(
                "{} s after the fault ({}), instance {} does not answer a {}: {last}",
                since.elapsed().as_secs(),
                fault.word(),
                instance + 1,
                request.verb()
            );
            round.expect_no(Breach::DoesNotRecover, false, || what.clone(), &[]);
            return Err(Halt::Undecided(what));
        }
    }
    Ok(())
}

/// What was acknowledged before or during the fault is there after it.
async fn are_there(round: &mut Round) -> Result<(), Halt> {
    if round.target().dialect().routes.get_reservation.is_empty() {
        return Ok(());
    }
    let mut acknowledged: Vec<(String, u64)> =
        round.holds.values().map(|hold| (hold.id.clone(), hold.made_by)).collect();
    acknowledged.sort_by_key(|(_, call)| *call);
    for (instance, (id, made_by)) in acknowledged.into_iter().enumerate() {
        let read = round.call(instance, Request::GetReservation { reservation: id.clone() }).await;
        if read.outcome.is_refused_for(Reason::NotFound) {
            let what = format!("reservation {id} was acknowledged, and is not there after the fault");
            let made = round.calls.iter().find(|call| call.id == made_by).cloned();
            let shown: Vec<Call> = made.into_iter().chain([read]).collect();
            round.expect_no(Breach::LosesWhatItAcknowledged, false, || what.clone(), &shown);
            return Err(Halt::Undecided(what));
        }
    }
    Ok(())
}

/// Repeats what was told to come again, and what got no clear answer and may be repeated.
async fn ask_again(round: &mut Round, calls: Vec<Call>) {
    let (contended, calls): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(Call::is_contended);
    round.persist(contended).await;
    let lost: Vec<Request> = calls
        .into_iter()
        .filter(|call| call.outcome.is_unknown())
        .map(|call| call.request)
        .filter(|request| !matches!(request, Request::Reserve { key: None, .. }))
        .collect();
    for (instance, request) in lost.into_iter().enumerate() {
        for attempt in 0..3 {
            if !round.call(instance + attempt, request.clone()).await.outcome.is_unknown() {
                break;
            }
        }
    }
}

/// Without keys, the item's own count says how many of the reservations without an answer were made: each is for one
/// unit, and the first to be sent can have been made in any order in which a later one was. More units taken than that is
/// for the check to refute.
async fn count_ghosts(round: &mut Round) {
    let mut lost: Vec<(u64, u64)> = round.doubtful().map(|call| (call.invoked_ns, call.id)).collect();
    let only_reserves = round.doubtful().all(|call| call.request.verb() == "reserve");
    if lost.is_empty() || !only_reserves || round.target().dialect().fixed_ttl_ms().is_some() {
        return;
    }
    lost.sort_unstable();
    let Some(taken) = settled_count(round).await else { return };
    let (confirmed, held) = round.tally();
    let Some(ghosts) = usize::try_from(taken - confirmed - held).ok().filter(|ghosts| *ghosts <= lost.len()) else {
        return;
    };
    let evidence = format!("the item shows {ghosts} units taken by the {} reservations without an answer", lost.len());
    for (place, (_, call)) in lost.iter().enumerate() {
        round.settle_as(*call, place < ghosts, &evidence);
    }
    round.ghosts += ghosts as i64;
}

/// Units taken, as every instance shows them twice, some time apart.
async fn settled_count(round: &mut Round) -> Option<i64> {
    let mut counts = Vec::new();
    for _ in 0..2 {
        sleep(Duration::from_millis(300)).await;
        for instance in 0..round.target().instances() {
            let call = round.call(instance, Request::GetItem { item: round.item().to_owned() }).await;
            let available = call.outcome.item().and_then(|ItemView { available, .. }| *available)?;
            counts.push(round.total() - available);
        }
    }
    counts.windows(2).all(|pair| pair[0] == pair[1]).then(|| counts[0])
}
