//! How fast a deployment lets itself be asked: calls that it limits were not executed, and are made again when it says so.
//! All clients of a run share one pace, and the waiting has a bound.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::target::connection::Response;

/// How long a run waits in all, unless the caller says otherwise.
pub const WAIT_MAX: Duration = Duration::from_secs(120);
/// The first wait where an answer does not say how long; each further one without a served call between is twice as long.
const UNSAID: Duration = Duration::from_millis(50);
/// And none is longer.
const UNSAID_MAX: Duration = Duration::from_secs(10);

/// The pace of one run. Cheap to clone: all clones are one pace.
#[derive(Clone)]
pub struct Pace {
    state: Arc<Mutex<State>>,
    exhausted: Arc<watch::Sender<Option<u16>>>,
}

struct State {
    /// Calls that were not limited.
    served: u64,
    /// Limited calls since the last one that was served.
    limited: u32,
    /// Nothing is asked before.
    not_before: Option<Instant>,
    /// How much may still be waited.
    left: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace::new(WAIT_MAX)
    }
}

impl Pace {
    /// A pace that waits so long at most, all waits together.
    pub fn new(wait_max: Duration) -> Self {
        let state = State { served: 0, limited: 0, not_before: None, left: wait_max };
        Pace { state: Arc::new(Mutex::new(state)), exhausted: Arc::new(watch::Sender::new(None)) }
    }

    /// Notes an answer; says whether its call was not executed and is to be made again.
    pub fn note(&self, response: &Response) -> bool {
        if !is_limited(response) {
            let mut state = self.state();
            state.served += 1;
            state.limited = 0;
            return false;
        }
        let mut state = self.state();
        let now = Instant::now();
        let known = state.not_before.filter(|at| *at > now).unwrap_or(now);
        let unsaid = || UNSAID_MAX.min(UNSAID * 2_u32.saturating_pow(state.limited.min(16)));
        let until = now + response.retry_after.as_deref().and_then(span).unwrap_or_else(unsaid);
        state.limited = state.limited.saturating_add(1);
        let longer = until.saturating_duration_since(known);
        if longer > state.left {
            self.exhausted.send_if_modified(|known| known.is_none() && known.replace(response.status).is_none());
        } else {
            state.left -= longer;
            state.not_before = Some(known.max(until));
        }
        true
    }

    /// Waits until the deployment may be asked again; never returns once the bound is reached, which `exhausted` tells.
    pub async fn wait(&self) {
        loop {
            if self.exhausted.borrow().is_some() {
                std::future::pending::<()>().await;
            }
            let until = self.state().not_before.filter(|at| *at > Instant::now());
            let Some(until) = until else { return };
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Returns, with the reason, when waiting any longer would exceed the bound.
    pub async fn exhausted(&self) -> String {
        let mut told = self.exhausted.subscribe();
        let _ = told.wait_for(Option::is_some).await;
        // Calls of the same burst that were served are counted too, whichever answer was read first.
        self.is_exhausted().unwrap_or_default()
    }

    /// The same, where it is so already.
    pub fn is_exhausted(&self) -> Option<String> {
        let status = (*self.exhausted.borrow())?;
        Some(format!("{status} after {} calls; the limit must be raised for a race", self.state().served))
    }

    /// Whether some call was limited.
    pub fn has_limited(&self) -> bool {
        self.state().not_before.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves nothing half-done here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is told to slow down was not served (RFC 6585 section 4), nor who is told when the service will be there again
/// (RFC 9110 section 15.6.4).
pub(crate) fn is_limited(response: &Response) -> bool {
    response.status == 429 || response.status == 503 && response.retry_after.is_some()
}

/// What `Retry-After` says: seconds, or a date (RFC 9110 section 10.2.3).
fn span(retry_after: &str) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.with_timezone(&chrono::Utc) - chrono::Utc::now()).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Response {
        Response { status, retry_after: retry_after.map(str::to_owned), body: Vec::new(), answered: Instant::now() }
    }

    #[tokio::test]
    async fn a_wait_within_the_bound_is_waited_and_one_beyond_it_is_told() {
        let pace = Pace::new(Duration::from_secs(1));
        assert!(!pace.note(&answer(200, None)) && !pace.note(&answer(503, None)));
        assert!(pace.note(&answer(429, Some("0.05"))));
        let began = Instant::now();
        pace.wait().await;
        assert!(began.elapsed() >= Duration::from_millis(40));
        assert_eq!(pace.is_exhausted(), None);
        assert!(pace.note(&answer(429, Some("840"))));
        assert_eq!(pace.exhausted().await, "429 after 2 calls; the limit must be raised for a race");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(span("3"), Some(Duration::from_secs(3)));
        assert_eq!(span("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(span("soon"), None);
    }
}
