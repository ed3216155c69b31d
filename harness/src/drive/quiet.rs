//! How every round ends: the race is over, every deadline has passed, nothing is under way; now the answers, what the
//! item says, what it still sells and what its books say must be one and the same.

use std::time::Duration;

use crate::{
    check::{
        self, Limits, ledger,
        verdict::{Breach, Layer, Violation},
    },
    drive::{
        findings::Halt,
        hold::{Fate, Hold},
        round::Round,
    },
    history::{Call, Contract, Event, ItemView, Outcome, Reason, Request, Status, resolved, told},
};

/// Beyond this many, a round's reservations are spot-checked: reading them all would be the longest part of a burst.
const READ_MAX: usize = 12;
/// No one reservation may be larger (the contract's limit).
const QUANTITY_MAX: i64 = 1_000_000;
/// And no more of them are made to sell what is left.
const SALES_MAX: i64 = 500;
/// A round's history is small: if its check takes this long, it will not end soon either.
const CHECK_TIME: Duration = Duration::from_secs(3);
/// Sweeps are bounded and may skip a busy item, so one is not always enough.
const SWEEPS_MAX: usize = 40;

impl Round {
    /// Brings the round to its quiet end and checks it.
    pub async fn close(&mut self) -> Result<(), Halt> {
        if self.waits {
            self.wait_for_deadlines().await;
        }
        self.resolve().await;
        self.end_watch().await?;
        let now = self.target().recorder().now_ns();
        let lapsed = self.holds.values().any(|hold| hold.fate(now) == Fate::Expired);
        // Where a deadline alone frees units, every answer must say so before any sweep has run.
        if lapsed && self.target().dialect().behaviour.lapse_frees_at_once {
            self.compare("before the sweep").await;
        }
        if lapsed {
            self.sweep().await?;
        }
        self.settle().await;
        self.compare("at the end").await;
        self.read_reservations().await;
        self.audit("at the end").await?;
        self.sell_the_rest().await?;
        self.release_all().await;
        self.compare("after every live hold was cancelled").await;
        self.audit("after every live hold was cancelled").await?;
        self.testify().await?;
        self.check();
        Ok(())
    }

    /// The quiet end of a schedule: as `close`, but nothing more is sold or given back, because its item is not used again.
    pub(crate) async fn close_quickly(&mut self) -> Result<(), Halt> {
        self.resolve().await;
        let now = self.target().recorder().now_ns();
        let lapsed = self.holds.values().any(|hold| hold.fate(now) == Fate::Expired);
        let frees_at_once = self.target().dialect().behaviour.lapse_frees_at_once;
        if frees_at_once {
            self.compare("at the end").await;
        }
        if lapsed && (self.has_ledger() || !frees_at_once) {
            self.sweep().await?;
        }
        if !frees_at_once {
            self.compare("at the end").await;
        }
        self.audit("at the end").await?;
        self.check();
        Ok(())
    }

    /// Whether some order of all calls explains every answer.
    pub(crate) fn check(&mut self) {
        if self.exact {
            self.expect_no_internal_errors();
        }
        // What is broken already is checked for further findings, and not for long.
        let time = if self.findings.violations.is_empty() { CHECK_TIME } else { CHECK_TIME / 10 };
        let limits = Limits { time, item_time: time, ..Limits::default() };
        let calls = resolved(self.calls.clone(), &self.settled);
        let checked = check::check(&calls, Contract::from(self.target().dialect()), self.moved(), limits);
        self.findings.violations.extend(checked.violations);
        self.findings.undecided.extend(checked.undecided);
        self.findings.loosely += checked.loosely;
    }

    /// Finds out about holds whose confirm or cancel got no answer; what cannot be found out makes the round undecided.
    async fn resolve(&mut self) {
        let doubtful: Vec<String> =
            self.holds.values().filter(|hold| hold.unknown).map(|hold| hold.id.clone()).collect();
        for id in doubtful {
            let call = self.call(0, Request::GetReservation { reservation: id.clone() }).await;
            let status = call.outcome.reservation().and_then(|view| view.status);
            let Some(hold) = self.holds.get_mut(&id) else { continue };
            match status {
                Some(Status::Confirmed) if hold.confirmed_by.is_empty() => hold.confirmed_by.push(call.id),
                Some(Status::Cancelled) if hold.cancelled_by.is_empty() => hold.cancelled_by.push(call.id),
                // Whatever got no answer can still happen later; a round is over before that, and says so.
                Some(_) => hold.unknown = false,
                None => {}
            }
            // An answered call has ended, so a hold that still lives was ended by none of them.
            if status == Some(Status::Pending) {
                let failed = |call: &&Call| call.outcome.is_unknown() && call.status.is_some();
                let about = self.calls.iter().filter(failed).filter(|call| call.request.reservation() == Some(&id));
                for call in about.map(|call| call.id).collect::<Vec<_>>() {
                    self.settle_as(call, false, "its reservation reads PENDING afterwards");
                }
            }
        }
    }

    /// Notes what was found out about an unknown call.
    pub(crate) fn settle_as(&mut self, call: u64, happened: bool, evidence: &str) {
        let evidence = evidence.to_owned();
        self.target().recorder().record(&Event::Resolved { call, happened, evidence });
        self.settled.insert(call, happened);
    }

    /// Calls that may or may not have happened: no answer came, and no repeat was answered either.
    pub(crate) fn doubtful(&self) -> impl Iterator<Item = &Call> {
        let repeated = |call: &Call| {
            let same = |other: &&Call| other.request == call.request && !other.outcome.is_unknown();
            let repeatable = !matches!(call.request, Request::Reserve { key: None, .. } | Request::CreateItem { .. });
            repeatable && self.calls.iter().any(|other| same(&other) && other.invoked_ns > call.invoked_ns)
        };
        // What no item can give, and what no hold of this round is named in, cannot have changed anything here.
        let harmless = |call: &Call| match &call.request {
            _ if self.settled.contains_key(&call.id) => true,
            Request::GetItem { .. } | Request::GetReservation { .. } => true,
            Request::Reserve { quantity, .. } => !(1..=self.total()).contains(quantity),
            request => request.reservation().is_some_and(|id| !self.holds.contains_key(id)),
        };
        self.calls.iter().filter(move |call| call.outcome.is_unknown() && !harmless(call) && !repeated(call))
    }

    fn has_unknown(&self) -> bool {
        self.doubtful().next().is_some() || self.untold()
    }

    /// Whether of some hold nobody knows how it ended.
    pub(crate) fn untold(&self) -> bool {
        let untold = |hold: &Hold| hold.unknown && hold.confirmed_by.is_empty() && hold.cancelled_by.is_empty();
        self.holds.values().any(untold)
    }

    /// Records lapsed holds until the sweep finds none.
    pub(crate) async fn sweep(&mut self) -> Result<(), Halt> {
        if self.target().dialect().routes.expire.is_empty() {
            return Ok(());
        }
        let mut idle = 0;
        for attempt in 0..SWEEPS_MAX {
            let call = self.call(attempt, Request::Expire).await;
            self.swept_ns = call.invoked_ns;
            match &call.outcome {
                Outcome::Ok(crate::history::Answer::Sweep(sweep)) => {
                    idle = if sweep.expired.unwrap_or(0) == 0 { idle + 1 } else { 0 };
                    // Where the count is not said, three sweeps must do.
                    if idle >= if sweep.expired.is_some() && sweep.has_more != Some(true) { 1 } else { 3 } {
                        return Ok(());
                    }
                }
                Outcome::Unknown(why) => return Err(Halt::Undecided(format!("a sweep got no answer: {why}"))),
                outcome => return Err(Halt::PlainPath(format!("a sweep was refused: {}", told(outcome, call.status)))),
            }
        }
        Err(Halt::Undecided(format!("{SWEEPS_MAX} sweeps did not come to an end")))
    }

    /// Every instance must say exactly what the answers imply.
    pub(crate) async fn compare(&mut self, when: &str) {
        let unknown = self.has_unknown();
        for instance in 0..self.target().instances() {
            let tallied_ns = self.target().recorder().now_ns();
            let (confirmed, held) = self.tally();
            if self.lapse_is_unrecorded() {
                return;
            }
            let total = self.total();
            let expected = ItemView {
                total: Some(total),
                available: Some(total - confirmed - held),
                held: Some(held),
                confirmed: Some(confirmed),
                ..ItemView::default()
            };
            let request = Request::GetItem { item: self.item().to_owned() };
            let call = self.call(instance, request).await;
            // A read that a deadline falls into may show either side of it; the history's check allows just that.
            if unknown || self.meets_a_deadline(tallied_ns, &call) {
                continue;
            }
            let Some(view) = call.outcome.item().cloned() else {
                self.findings
                    .undecided
                    .push(format!("{when}, the item could not be read: {}", told(&call.outcome, call.status)));
                return;
            };
            self.expect(agrees(&view, &expected), || format!("{when}, {}", disagreement(&view, &expected)), &[call]);
        }
    }

    /// Whether a hold has lapsed since the last sweep, where that alone frees nothing: until then it may count or not.
    fn lapse_is_unrecorded(&self) -> bool {
        let now = self.target().recorder().now_ns();
        let swept_ns = self.swept_ns;
        let since = |hold: &Hold| {
            let last = hold.lapses_ns.map_or(u64::MAX, |(_, last)| last.saturating_add(hold.rounding_ns));
            hold.fate(now) == Fate::Expired && last >= swept_ns
        };
        !self.target().dialect().behaviour.lapse_frees_at_once && self.holds.values().any(since)
    }

    fn meets_a_deadline(&self, tallied_ns: u64, call: &Call) -> bool {
        let returned_ns = call.returned_ns.unwrap_or(u64::MAX);
        self.holds.values().filter(|hold| hold.confirmed_by.is_empty() && hold.cancelled_by.is_empty()).any(|hold| {
            hold.lapses_ns.is_some_and(|(first, last)| {
                first.saturating_sub(hold.rounding_ns) <= returned_ns
                    && last.saturating_add(hold.rounding_ns) >= tallied_ns
            })
        })
    }

    /// What each contested reservation says of itself.
    async fn read_reservations(&mut self) {
        if self.target().dialect().routes.get_reservation.is_empty() {
            return;
        }
        let now = self.target().recorder().now_ns();
        let mut holds: Vec<(String, Fate)> =
            self.holds.values().map(|hold| (hold.id.clone(), hold.fate(now))).collect();
        self.seed.shuffle(&mut holds);
        for (index, (id, fate)) in holds.into_iter().take(READ_MAX).enumerate() {
            let call = self.call(index, Request::GetReservation { reservation: id.clone() }).await;
            let Some(status) = call.outcome.reservation().and_then(|view| view.status) else {
                self.findings
                    .undecided
                    .push(format!("reservation {id} could not be read: {}", told(&call.outcome, call.status)));
                return;
            };
            let implied = match fate {
                Fate::Held => Status::Pending,
                Fate::Confirmed => Status::Confirmed,
                Fate::Cancelled => Status::Cancelled,
                Fate::Expired => Status::Expired,
            };
            self.expect(
                status == implied,
                || format!("reservation {id} says {status:?}; the answers imply {implied:?}"),
                &[call],
            );
        }
    }

    /// The books, where they can be read, against themselves and against the answers.
    async fn audit(&mut self, when: &str) -> Result<(), Halt> {
        let (confirmed, held) = self.tally();
        let unknown = self.has_unknown();
        let (books, item, total) = self.parts();
        let Some(books) = books.as_mut().filter(|books| books.reads_rows()) else { return Ok(()) };
        if !books.has_ledger {
            let sample = books.sample(item).await.map_err(Halt::Undecided)?;
            self.findings.samples.1 += 1;
            let shown = (sample.pending_unexpired, sample.confirmed);
            let differs = (!unknown && shown != (held, confirmed)).then(|| {
                format!("the rows say active {}, confirmed {}; the answers imply {held}, {confirmed}", shown.0, shown.1)
            });
            let now = self.target().recorder().now_ns();
            for what in sample.audit().into_iter().chain(differs) {
                let what = format!("{when}, {what}");
                self.findings.violations.push(Violation::new(Layer::Books, Breach::ShowsWhatNeverWas, what).at(now));
            }
            return Ok(());
        }
        let page = books.page(item).await.map_err(Halt::Undecided)?;
        let mut violations = page.audit();
        let counters = (page.item.total_quantity, page.item.held_quantity, page.item.confirmed_quantity);
        if !unknown && counters != (total, held, confirmed) {
            violations.push(Violation::new(
                Layer::Books,
                Breach::ShowsWhatNeverWas,
                format!(
                    "the item's row says total {}, held {}, confirmed {}; the answers imply {total}, {held}, {confirmed}",
                    counters.0, counters.1, counters.2
                ),
            ));
        }
        violations.extend(ledger::replay(&page, &self.calls));
        self.findings.versions += page.ledger.len();
        let now = self.target().recorder().now_ns();
        for mut violation in violations {
            violation.what = format!("{when}, {}", violation.what);
            self.findings.violations.push(violation.at(now));
        }
        Ok(())
    }

    /// What an item says is available is what it sells, and not one unit more.
    async fn sell_the_rest(&mut self) -> Result<(), Halt> {
        if self.has_unknown() || self.findings.violations.iter().any(|found| !found.breach.leaves_the_writes_open()) {
            return Ok(());
        }
        let (confirmed, held) = self.tally();
        let rest = self.total() - confirmed - held;
        let mut at_once = self.target().dialect().quantity(rest);
        if rest > QUANTITY_MAX || rest > SALES_MAX * at_once {
            return Ok(());
        }
        let mut left = rest;
        while left > 0 {
            let request = self.reserve(left.min(at_once), None);
            let call = self.call(0, request).await;
            // A service may limit what one reservation takes.
            if call.outcome.is_refused_for(Reason::Invalid) && at_once > 1 {
                at_once = (at_once + 1) / 2;
                continue;
            }
            if self.unanswered(&call) {
                return Ok(());
            }
            let told = told(&call.outcome, call.status);
            let met = call.outcome.is_ok();
            self.expect(met, || format!("the last {left} units are free, but reserving them got {told}"), &[call]);
            if !met {
                return Ok(());
            }
            left -= left.min(at_once);
        }
        let request = self.reserve(1, None);
        let call = self.call(1, request).await;
        if self.unanswered(&call) {
            return Ok(());
        }
        let told = told(&call.outcome, call.status);
        let refused = call.outcome.is_refused_for(Reason::InsufficientAvailability);
        self.expect(refused, || format!("nothing is left, but reserving one more got {told}"), &[call]);
        Ok(())
    }

    /// A call that nobody can tell anything from proves nothing, and says so.
    fn unanswered(&mut self, call: &Call) -> bool {
        let unanswered = call.outcome.is_unknown() || call.is_contended();
        if unanswered {
            let why = format!("a reservation got no answer: {}", told(&call.outcome, call.status));
            self.findings.undecided.push(why);
        }
        unanswered
    }

    /// Cancels what still lives, all at once: a quiet end leaves nothing held, and each unit must come back once.
    async fn release_all(&mut self) {
        let now = self.target().recorder().now_ns();
        let live: Vec<Request> = self
            .holds
            .values()
            .filter(|hold| hold.fate(now) == Fate::Held)
            .map(|hold| Request::Cancel { reservation: hold.id.clone() })
            .collect();
        let calls = self.burst(live, None).await;
        for call in calls {
            let told = told(&call.outcome, call.status);
            let met = call.outcome.is_ok() || call.outcome.is_unknown();
            self.expect(met, || format!("a live hold could not be cancelled: {told}"), &[call]);
        }
        if self.has_unknown() && self.findings.undecided.is_empty() {
            self.findings.undecided.push("a call got no answer that says what happened".to_owned());
        }
    }
}

fn agrees(view: &ItemView, expected: &ItemView) -> bool {
    [
        (view.total, expected.total),
        (view.available, expected.available),
        (view.held, expected.held),
        (view.confirmed, expected.confirmed),
    ]
    .iter()
    .all(|(shown, implied)| shown.is_none() || shown == implied)
}

fn disagreement(view: &ItemView, expected: &ItemView) -> String {
    let words = |view: &ItemView| {
        [("available", view.available), ("held", view.held), ("confirmed", view.confirmed)]
            .iter()
            .filter_map(|(word, value)| value.map(|value| format!("{word} {value}")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "the item says {}; the answers imply {} of {}",
        words(view),
        words(expected),
        expected.total.unwrap_or_default()
    )
}
