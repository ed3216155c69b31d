//! Who may call what: bearer tokens, compared in constant time.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::{Code, Problem};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// Every caller.
    Open,
    /// A caller with an API key, where there are any.
    ApiKey,
    /// A caller with an API key or the cron secret, where there are any.
    Maintenance,
}

/// The tokens, as digests: a comparison takes as long for a short token as for a long one.
#[derive(Clone, Default)]
pub struct Access {
    api_keys: Vec<[u8; 32]>,
    cron_secret: Option<[u8; 32]>,
}

impl Access {
    /// `api_keys`: comma-separated. An empty text is no key.
    pub fn new(api_keys: &str, cron_secret: &str) -> Self {
        let digest = |text: &str| <[u8; 32]>::from(Sha256::digest(text.as_bytes()));
        Self {
            api_keys: api_keys.split(',').map(str::trim).filter(|key| !key.is_empty()).map(digest).collect(),
            cron_secret: Some(cron_secret.trim()).filter(|secret| !secret.is_empty()).map(digest),
        }
    }

    /// Reads `API_KEYS` and `CRON_SECRET`.
    pub fn from_env() -> Self {
        let read = |name: &str| std::env::var(name).unwrap_or_default();
        Self::new(&read("API_KEYS"), &read("CRON_SECRET"))
    }

    /// Whether calls need no token.
    pub fn is_open(&self) -> bool {
        self.api_keys.is_empty()
    }

    /// Whether maintenance may be asked for by GET.
    pub fn has_cron_secret(&self) -> bool {
        self.cron_secret.is_some()
    }

    /// Whether a call under this rule needs a token.
    pub fn needs_token(&self, rule: AccessRule) -> bool {
        match rule {
            AccessRule::Open => false,
            AccessRule::ApiKey => !self.api_keys.is_empty(),
            AccessRule::Maintenance => !self.api_keys.is_empty() || self.cron_secret.is_some(),
        }
    }

    /// Refuses a call that lacks a token it needs.
    pub fn check(&self, rule: AccessRule, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.needs_token(rule) {
            return Ok(());
        }
        let cron_secret = self.cron_secret.as_ref().filter(|_| rule == AccessRule::Maintenance);
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let digest = <[u8; 32]>::from(Sha256::digest(token.unwrap_or_default().as_bytes()));
        // Every token is compared, so the time does not tell which one was close.
        let mut found = Choice::from(0);
        for known in self.api_keys.iter().chain(cron_secret) {
            found |= known.ct_eq(&digest);
        }
        if bool::from(found) {
            return Ok(());
        }
        Err(Problem::new(
            Code::Unauthenticated,
            match token {
                Some(_) => "The bearer token is not known.",
                None => "Send `Authorization: Bearer <key>`.",
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        }
        headers
    }

    #[rstest]
    #[case::known("Bearer one", true)]
    #[case::second_key("bearer two", true)]
    #[case::unknown("Bearer three", false)]
    #[case::prefix("Bearer on", false)]
    #[case::empty("Bearer ", false)]
    #[case::other_scheme("Basic one", false)]
    #[case::absent("", false)]
    fn a_call_needs_a_known_key(#[case] authorization: &str, #[case] accepted: bool) {
        let access = Access::new(" one, two ,", "");
        assert_eq!(access.check(AccessRule::ApiKey, &headers(authorization)).is_ok(), accepted);
    }

    #[rstest]
    #[case::cron_secret_for_maintenance(AccessRule::Maintenance, "Bearer sweep", true)]
    #[case::key_for_maintenance(AccessRule::Maintenance, "Bearer one", true)]
    #[case::nothing_for_maintenance(AccessRule::Maintenance, "", false)]
    #[case::cron_secret_for_others(AccessRule::ApiKey, "Bearer sweep", false)]
    #[case::nothing_for_health(AccessRule::Open, "", true)]
    fn the_cron_secret_opens_maintenance_alone(
        #[case] rule: AccessRule,
        #[case] authorization: &str,
        #[case] accepted: bool,
    ) {
        let access = Access::new("one", "sweep");
        assert_eq!(access.check(rule, &headers(authorization)).is_ok(), accepted);
    }

    #[rstest]
    #[case::calls(AccessRule::ApiKey, "", true)]
    #[case::maintenance(AccessRule::Maintenance, "", false)]
    fn a_cron_secret_alone_closes_maintenance_alone(
        #[case] rule: AccessRule,
        #[case] authorization: &str,
        #[case] accepted: bool,
    ) {
        let access = Access::new("", "sweep");
        assert_eq!(access.check(rule, &headers(authorization)).is_ok(), accepted);
    }

    #[test]
    fn without_keys_everything_is_open() {
        assert!(Access::new(" , ", " ").check(AccessRule::Maintenance, &HeaderMap::new()).is_ok());
    }
}
