//! Where participants post replies (`reply: async`), and the tokens that let them.
//!
//! A token is good for one saga, step and phase, until a time: HMAC-SHA-256 over all of it. It needs
//! no table, any replica can check it, and it says which attempt it was given for. It stands in a URL,
//! so it is kept out of logs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use url::Url;

use crate::definition::request::Phase;
use crate::saga::{SagaId, Timestamp};

/// For how long after an attempt was given up its token is good: what comes late is recorded.
const GRACE_MS: u64 = 24 * 3_600 * 1_000;
/// The bytes before the code: phase, attempt and time.
const HEAD_BYTES: usize = 1 + 4 + 8;

/// Makes the URLs of callbacks, and checks their tokens.
#[derive(Clone)]
pub struct Callbacks {
    base: String,
    key: Hmac<Sha256>,
}

/// What a good token says beside the saga and the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Which of the step's calls it is for.
    pub phase: Phase,
    /// Which attempt it was given for.
    pub attempt: u32,
}

/// A token that is not good for that saga and step now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not good for this step")]
pub struct BadToken;

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Callbacks")
            .field(&self.base)
            .finish()
    }
}

impl Callbacks {
    /// Callbacks below `public_url`, with tokens made by `key`.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length.
    #[must_use]
    pub fn new(public_url: &Url, key: &[u8]) -> Self {
        let Ok(key) = Hmac::new_from_slice(key) else {
            unreachable!("HMAC takes a key of any length");
        };
        Self {
            base: public_url.as_str().trim_end_matches('/').to_owned(),
            key,
        }
    }

    /// Where the reply to an attempt is posted, until some time after `until`.
    #[must_use]
    pub fn url(
        &self,
        saga: SagaId,
        step: &str,
        (phase, attempt): (Phase, u32),
        until: Timestamp,
    ) -> String {
        let token = self.token(
            saga,
            step,
            Granted { phase, attempt },
            until.plus_ms(GRACE_MS),
        );
        format!(
            "{}/api/v1/sagas/{saga}/steps/{step}/reply?token={token}",
            self.base
        )
    }

    fn token(&self, saga: SagaId, step: &str, granted: Granted, until: Timestamp) -> String {
        let mut bytes = head(granted, until).to_vec();
        bytes.extend(self.code(saga, step, &bytes).finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn code(&self, saga: SagaId, step: &str, head: &[u8]) -> Hmac<Sha256> {
        let mut code = self.key.clone();
        code.update(b"amends callback v1");
        code.update(saga.0.as_bytes());
        // A step's id holds no NUL, so this and what follows cannot be taken for each other.
        code.update(step.as_bytes());
        code.update(&[0]);
        code.update(head);
        code
    }

    /// What `token` is good for at `now`, if it is for that saga and step.
    ///
    /// # Errors
    /// When it is not, was changed, or its time is up; which of these it was is told to nobody.
    pub fn check(
        &self,
        token: &str,
        saga: SagaId,
        step: &str,
        now: Timestamp,
    ) -> Result<Granted, BadToken> {
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_encoding| BadToken)?;
        let (head, code) = bytes.split_at_checked(HEAD_BYTES).ok_or(BadToken)?;
        // In constant time.
        let right = self.code(saga, step, head).verify_slice(code);
        right.map_err(|_mismatch| BadToken)?;
        let (granted, until) = read(head).ok_or(BadToken)?;
        if until < now {
            return Err(BadToken);
        }
        Ok(granted)
    }
}

fn head(granted: Granted, until: Timestamp) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let [phase, rest @ ..] = &mut head;
    *phase = match granted.phase {
        Phase::Action => 0,
        Phase::Compensation => 1,
    };
    let (attempt, time) = rest.split_at_mut(4);
    attempt.copy_from_slice(&granted.attempt.to_be_bytes());
    time.copy_from_slice(&until.0.to_be_bytes());
    head
}

fn read(head: &[u8]) -> Option<(Granted, Timestamp)> {
    let (phase, rest) = head.split_first()?;
    let (attempt, time) = rest.split_at_checked(4)?;
    let phase = match phase {
        0 => Phase::Action,
        1 => Phase::Compensation,
        _ => return None,
    };
    let attempt = u32::from_be_bytes(attempt.try_into().ok()?);
    let until = Timestamp(i64::from_be_bytes(time.try_into().ok()?));
    Some((Granted { phase, attempt }, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn callbacks(key: &[u8]) -> Callbacks {
        Callbacks::new(&"https://amends.example/base/".parse().unwrap(), key)
    }

    fn saga(n: u128) -> SagaId {
        SagaId(uuid::Uuid::from_u128(n))
    }

    fn token_of(url: &str) -> &str {
        url.split_once("?token=").unwrap().1
    }

    #[test]
    fn a_token_is_good_for_its_step_alone() {
        let own = callbacks(&[7; 32]);
        let url = own.url(saga(1), "pay", (Phase::Compensation, 3), NOW);
        assert!(
            url.starts_with(
                "https://amends.example/base/api/v1/sagas/\
                 00000000-0000-0000-0000-000000000001/steps/pay/reply?token="
            ),
            "{url}"
        );
        let token = token_of(&url);
        let granted = Granted {
            phase: Phase::Compensation,
            attempt: 3,
        };
        assert_eq!(own.check(token, saga(1), "pay", NOW), Ok(granted));
        let late = NOW.plus_ms(GRACE_MS);
        assert_eq!(own.check(token, saga(1), "pay", late), Ok(granted));

        assert_eq!(own.check(token, saga(2), "pay", NOW), Err(BadToken));
        assert_eq!(own.check(token, saga(1), "ship", NOW), Err(BadToken));
        assert_eq!(
            own.check(token, saga(1), "pay", late.plus_ms(1)),
            Err(BadToken)
        );
        let other = callbacks(&[8; 32]);
        assert_eq!(other.check(token, saga(1), "pay", NOW), Err(BadToken));
    }

    #[test]
    fn a_changed_token_is_not_good() {
        let own = callbacks(&[7; 32]);
        let url = own.url(saga(1), "pay", (Phase::Action, 1), NOW);
        let token = token_of(&url);
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(
                own.check(&changed, saga(1), "pay", NOW),
                Err(BadToken),
                "byte {place}"
            );
        }
        for bad in ["", "x", "=", "é", &token[1..], &format!("{token}A")] {
            assert_eq!(own.check(bad, saga(1), "pay", NOW), Err(BadToken), "{bad}");
        }
    }
}
