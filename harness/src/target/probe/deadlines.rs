//! Whether, and in which words, a caller can set a short deadline, and what its passing does.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::{
    history::{Outcome, Request},
    target::{
        answers::{instant_ms, normal},
        dialect::{Send, Unit},
        probe::{Heard, Probe, spellings},
    },
};

/// How long after a deadline an item is read, in milliseconds: a sweeper of the deployment's own would have to come by
/// in time every time.
const SOON_MS: [u64; 3] = [4, 17, 9];

/// How far a deadline in whole seconds may lie from the one that was asked for.
const WHOLE_MS: u64 = 1_000;

/// A hold that was asked for with a short deadline in one spelling.
struct Tried {
    send: Send,
    ttl_ms: u64,
    id: String,
    /// What the answer says of its deadline: it is the one asked for, it is another, or nothing.
    fits: Option<bool>,
}

impl Probe<'_> {
    /// Tries every spelling at once, so that the wait for deadlines is one wait.
    pub(super) async fn deadlines(&mut self, item: &str) -> Result<(), String> {
        let spelled = self.dialect.send.clone();
        let given = [(spelled.ttl.as_str(), spelled.ttl_unit)];
        let known = if spelled.ttl == Send::default().ttl { spellings::OF_A_DEADLINE } else { &given };
        let mut tried = Vec::new();
        for (name, unit) in known.iter().filter(|(name, _)| !name.is_empty()) {
            self.dialect.send = Send { ttl: (*name).to_owned(), ttl_unit: *unit, ..spelled.clone() };
            tried.extend(self.try_deadline(item).await?);
            if tried.last().is_some_and(|tried| tried.fits == Some(true)) {
                break;
            }
        }
        let mut freed = false;
        if tried.iter().any(|tried| tried.fits.is_none()) {
            let free = |heard: &Heard| heard.outcome.item().and_then(|view| view.available);
            let (_, before) = self.numbers(item).await?;
            let longest = tried.iter().map(|tried| tried.ttl_ms).max().unwrap_or(0);
            sleep(Duration::from_millis(longest + 150)).await;
            self.sweep_lapsed().await?;
            let (_, after) = self.numbers(item).await?;
            freed = free(&after).zip(free(&before)).is_some_and(|(after, before)| after > before);
        }
        for Tried { send, id, fits, .. } in tried {
            let kept = match fits {
                Some(fits) => fits,
                // Units that come back show that the deadline is understood, whatever a late confirm is answered: to
                // honour that is a fault, and no way of speaking.
                None if freed => self.frees(item, &send).await?,
                None => !self.ask(&Request::Confirm { reservation: id }).await?.outcome.is_ok(),
            };
            self.dialect.send = send;
            if kept && self.lives_until_then(item).await? {
                let Send { ttl, ttl_unit, .. } = &self.dialect.send;
                if *ttl != Send::default().ttl || *ttl_unit != Unit::Seconds {
                    self.found.push(format!("a deadline is sent as {ttl}, {}", ttl_unit.told()));
                }
                return self.lapse(item).await;
            }
        }
        self.dialect.send = Send { ttl: String::new(), ..spelled };
        self.found.push("a caller cannot set a short deadline".to_owned());
        if self.mover.is_some() { self.lapse(item).await } else { Ok(()) }
    }

    /// Records lapsed holds, where there is a route for that.
    async fn sweep_lapsed(&mut self) -> Result<(), String> {
        if !self.dialect.routes.expire.is_empty() {
            self.ask(&Request::Expire).await?;
        }
        Ok(())
    }

    /// Whether a hold in this spelling gives its unit back once its deadline has passed.
    async fn frees(&mut self, item: &str, send: &Send) -> Result<bool, String> {
        self.dialect.send = send.clone();
        let ttl_ms = self.dialect.ttl_ms(80);
        let request = self.reservation(item, 1, Some(ttl_ms));
        self.ask(&request).await?;
        let free = |heard: &Heard| heard.outcome.item().and_then(|view| view.available);
        let (_, before) = self.numbers(item).await?;
        sleep(Duration::from_millis(ttl_ms + 150)).await;
        self.sweep_lapsed().await?;
        let (_, after) = self.numbers(item).await?;
        Ok(free(&after).zip(free(&before)).is_some_and(|(after, before)| after > before))
    }

    async fn try_deadline(&mut self, item: &str) -> Result<Option<Tried>, String> {
        let ttl_ms = self.dialect.ttl_ms(80);
        let request = self.reservation(item, 1, Some(ttl_ms));
        let heard = self.ask(&request).await?;
        let Some(view) = heard.outcome.reservation() else { return Ok(None) };
        // Who counts in whole seconds shows up to one less, and makes nothing of a part of one.
        let coarse = whole_seconds(&heard.body);
        let unit = self.dialect.send.ttl_unit;
        let fine = !matches!(unit, Unit::WholeSeconds | Unit::Instant);
        if coarse && unit == Unit::Instant {
            self.dialect.behaviour.deadline_rounding_ms = WHOLE_MS;
        }
        let near = |shown: u64| shown.abs_diff(ttl_ms) <= if coarse { 1_000 } else { 20 };
        Ok(Some(Tried {
            send: self.dialect.send.clone(),
            ttl_ms,
            id: view.id.clone().unwrap_or_default(),
            fits: if coarse && fine { Some(false) } else { view.ttl_ms.map(near) },
        }))
    }

    /// Whether a hold with a longer deadline still lives at once: a unit that is read as a smaller one, or a fraction
    /// that is cut off, ends it before anybody can confirm it.
    async fn lives_until_then(&mut self, item: &str) -> Result<bool, String> {
        let whole = self.dialect.send.ttl_unit == Unit::WholeSeconds;
        let ttl_ms = self.dialect.ttl_ms(if whole { 2_500 } else { 600 });
        let request = self.reservation(item, 1, Some(ttl_ms));
        let heard = self.ask(&request).await?;
        let Some(id) = heard.outcome.reservation().and_then(|view| view.id.clone()) else { return Ok(false) };
        Ok(self.ask(&Request::Confirm { reservation: id }).await?.outcome.is_ok())
    }

    /// Whether a lapsed hold stops counting by itself.
    async fn lapse(&mut self, item: &str) -> Result<(), String> {
        let available = |heard: &Heard| heard.outcome.item().and_then(|view| view.available);
        let mut freed = true;
        let mut lapsed = None;
        let fine_ms = self.dialect.behaviour.deadline_rounding_ms;
        let mut whole = true;
        for soon_ms in SOON_MS {
            let (_, before) = self.numbers(item).await?;
            let ttl_ms = self.dialect.ttl_ms(40);
            let request = self.reservation(item, self.dialect.quantity(5), Some(ttl_ms));
            let held = self.ask(&request).await?;
            lapsed = held.outcome.reservation().and_then(|view| view.id.clone());
            whole &= whole_seconds(&held.body);
            self.dialect.behaviour.deadline_rounding_ms = if whole { WHOLE_MS } else { fine_ms };
            if !self.dialect.short_deadlines()
                && let Some(mover) = &mut self.mover
            {
                let id = lapsed.clone().unwrap_or_default();
                // A statement that moves nothing shows nothing here; the first scenario that needs it tells why.
                if mover.move_deadline(&id, ttl_ms).await.is_err() {
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(ttl_ms + soon_ms + self.dialect.behaviour.deadline_rounding_ms)).await;
            let (_, after) = self.numbers(item).await?;
            freed = available(&after).zip(available(&before)).is_some_and(|(after, before)| after >= before);
            if !freed {
                break;
            }
        }
        self.dialect.behaviour.lapse_frees_at_once = freed;
        if !freed {
            self.found.push("a lapsed hold counts until a sweep has recorded it".to_owned());
        }
        match lapsed {
            Some(id) if freed && self.dialect.short_deadlines() => self.late_confirm(id).await,
            _ => Ok(()),
        }
    }

    /// Whether a lapsed hold whose units are free is confirmed where the caller asks for that, and only there.
    async fn late_confirm(&mut self, reservation: String) -> Result<(), String> {
        let plain = self.ask(&Request::Confirm { reservation: reservation.clone() }).await?;
        let refused = matches!(plain.outcome, Outcome::Refused(_));
        self.dialect.behaviour.late_confirm_reacquires =
            refused && self.ask(&Request::ConfirmLate { reservation }).await?.outcome.is_ok();
        Ok(())
    }
}

/// Whether a deadline is shown that lies at a whole second, as a number or as a date, and so may lie a second early or late.
/// By accident one in a thousand does.
fn whole_seconds(body: &Value) -> bool {
    const NAMES: [&str; 4] = ["expir", "until", "deadline", "validto"];
    let Value::Object(fields) = body else { return false };
    fields.iter().any(|(name, value)| {
        let name = normal(name);
        let instant_ms =
            instant_ms(value).filter(|at| *at >= FIRST_MS && NAMES.iter().any(|known| name.contains(known)));
        instant_ms.is_some_and(|at| at % 1_000 == 0) || whole_seconds(value)
    })
}

/// What lies before 2001 is a span and no instant.
const FIRST_MS: i64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_seconds_are_told_from_numbers_and_dates() {
        for whole in [json!(1_700_000_001), json!("2026-01-01T00:00:05+00:00"), json!(1_700_000_001_000_i64)] {
            assert!(whole_seconds(&json!({ "data": { "expiresAt": whole } })), "{whole}");
        }
        for fine in [json!(1_700_000_001.25), json!("2026-01-01T00:00:05.120Z"), json!(60), json!(null)] {
            assert!(!whole_seconds(&json!({ "expires_in": fine, "created_at": 1_700_000_001 })), "{fine}");
        }
    }
}
