//! Eight holds have lapsed when their payments land after all, each twice at once and at different instances, and ask for
//! the units anew; four other customers ask for them too. Three further holds live on.
//!
//! ```text
//! hold n |=====deadline      | confirm n, anew if need be --> 200, or 409 reservation_expired
//!         (expire, in every  | confirm n, anew if need be --> the same
//!          other round)      | reserve 1 (four times)     --> 201, or 409 insufficient_availability
//!                            ^ released together
//! others |=====================================  still hold 3
//! ```
//!
//! Nobody gives a unit back, so exactly eight are sold or held anew, and whoever is refused finds none left. A payment
//! that lands twice is answered the same and takes its unit once. (This is beyond the assignment: where a deployment has
//! no such confirm, nothing is raced. It is played on an item of its own, beside the round's.)

use crate::{
    drive::{
        findings::Halt,
        round::Round,
        scenario::{Needs, Scenario},
    },
    history::{Call, ItemView, Reason, Request, told},
};

const HOLDS: usize = 8;
const OTHERS: usize = 3;
const CUSTOMERS: usize = 4;
const TTL_MS: u64 = 40;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late_confirm",
    source: include_str!("late_confirm.rs"),
    rounds: 12,
    needs: Needs { deadline: true, late_confirm: true, ..Needs::NOTHING },
    exact: true,
    must_see: &[],
    overlap_min: 2,
    play: |round| Box::pin(play(round)),
};

async fn play(round: &mut Round) -> Result<(), Halt> {
    round.create_item(1).await?;
    round.race(Vec::new(), None).await?;
    let total = (HOLDS + OTHERS) as i64;
    let Some(item) = round.created(total).await.item else { return Err(Halt::Spoilt("no second item".to_owned())) };
    let others = stage(round, &item, OTHERS, None).await?;
    let ttl_ms = round.ttl_ms(TTL_MS);
    let holds = stage(round, &item, HOLDS, Some(ttl_ms)).await?;
    let rounding_ms = round.target().dialect().behaviour.deadline_rounding_ms;
    tokio::time::sleep(std::time::Duration::from_millis(ttl_ms + rounding_ms + 5)).await;
    if round.number.is_multiple_of(2) {
        round.sweep().await?;
    }
    let late = |id: &String| vec![Request::ConfirmLate { reservation: id.clone() }; 2];
    let mut requests: Vec<Request> = holds.iter().flat_map(late).collect();
    requests.extend((0..CUSTOMERS).map(|_| reserve(round, &item, None)));
    let calls = round.burst_aside(requests).await;
    round.count(&calls);
    round.contended(&calls);
    if let Some(call) = calls.iter().find(|call| call.outcome.is_unknown()) {
        return Err(Halt::Undecided(format!("a call got no answer: {}", told(&call.outcome, call.status))));
    }
    let (payments, reservations) = calls.split_at(2 * HOLDS);
    let paid = expect(round, payments, reservations);
    let held: Vec<String> = others.into_iter().chain(ids(reservations)).collect();
    read(round, &item, "at the end", held.len() as i64, paid).await;
    audit(round, &item).await?;
    round.burst_aside(held.into_iter().map(|reservation| Request::Cancel { reservation }).collect()).await;
    read(round, &item, "after every live hold was cancelled", 0, paid).await;
    audit(round, &item).await
}

/// How many were paid for late.
fn expect(round: &mut Round, payments: &[Call], reservations: &[Call]) -> i64 {
    let contended = |call: &Call| call.outcome.is_refused_for(Reason::Contention);
    for pair in payments.chunks(2).filter(|pair| !pair.iter().any(contended)) {
        let same = pair[0].outcome.is_ok() == pair[1].outcome.is_ok();
        let answers = || pair.iter().map(|call| told(&call.outcome, call.status)).collect::<Vec<_>>().join(" and ");
        round.expect(same, || format!("one late payment, sent twice at once, was answered {}", answers()), pair);
    }
    let paid = payments.chunks(2).filter(|pair| pair.iter().any(|call| call.outcome.is_ok())).count();
    let reserved = ids(reservations).count();
    let answered = !payments.iter().chain(reservations).any(contended);
    let calls: Vec<Call> = payments.iter().chain(reservations).cloned().collect();
    round.expect(
        paid + reserved <= HOLDS && (paid + reserved == HOLDS || !answered),
        || {
            format!(
                "{HOLDS} units of lapsed holds: {paid} were paid for late and {reserved} reserved, not {HOLDS} together"
            )
        },
        &calls,
    );
    paid as i64
}

fn ids(calls: &[Call]) -> impl Iterator<Item = String> {
    calls.iter().filter_map(|call| call.outcome.reservation()?.id.clone())
}

fn reserve(round: &mut Round, of: &str, ttl_ms: Option<u64>) -> Request {
    let mut request = round.reserve(1, ttl_ms);
    if let Request::Reserve { item, .. } = &mut request {
        of.clone_into(item);
    }
    request
}

async fn stage(round: &mut Round, item: &str, count: usize, ttl_ms: Option<u64>) -> Result<Vec<String>, Halt> {
    let requests = (0..count).map(|_| reserve(round, item, ttl_ms)).collect();
    let made: Vec<String> = ids(&round.burst_aside(requests).await).collect();
    round.findings.spreads.clear();
    if made.len() < count {
        return Err(Halt::Spoilt(format!("{} of {count} holds could be made", made.len())));
    }
    Ok(made)
}

async fn read(round: &mut Round, item: &str, when: &str, held: i64, confirmed: i64) {
    let available = (HOLDS + OTHERS) as i64 - held - confirmed;
    for instance in 0..round.target().instances() {
        let call = round.aside(instance, Request::GetItem { item: item.to_owned() }).await;
        let ItemView { available: free, held: shown, confirmed: sold, .. } =
            call.outcome.item().cloned().unwrap_or_default();
        let agrees = |shown: Option<i64>, implied: i64| shown.is_none_or(|shown| shown == implied);
        round.expect(
            free == Some(available) && agrees(shown, held) && agrees(sold, confirmed),
            || format!(
                "{when}, the item says available {free:?}, held {shown:?}, confirmed {sold:?}; the answers imply {available}, {held}, {confirmed}"
            ),
            &[call],
        );
    }
}

/// What its books say of themselves, where they can be read.
async fn audit(round: &mut Round, item: &str) -> Result<(), Halt> {
    let Some(books) = round.books() else { return Ok(()) };
    let page = books.page(item).await.map_err(Halt::Undecided)?;
    let now = round.target().recorder().now_ns();
    round.findings.violations.extend(page.audit().into_iter().map(|violation| violation.at(now)));
    Ok(())
}
