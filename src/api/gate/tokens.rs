//! Tokens: JWTs of one issuer. The key says which algorithm it is for, so what a token says of
//! itself decides nothing but which key it is checked with.

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::credential::Credential;
use super::key_source::{KeySource, KeySourceError};
use super::{ANONYMOUS, Known};
use crate::config::{Jwt, Role, VerificationKey, VerificationKeys};
use crate::engine::clock;

/// How far clocks may be apart, in seconds.
const LEEWAY_S: u64 = 30;
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The longest subject, in characters: what the audit takes.
const SUBJECT_CHARS_MAX: usize = 255;
/// How many tokens are remembered as good.
const REMEMBERED_MAX: usize = 10_000;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("it is neither a key that is known nor a token that can be read")]
    Unreadable,
    #[error("its algorithm is not that of its key")]
    Algorithm,
    #[error("it does not say with which key it is signed")]
    NoKeyId,
    #[error("the key that it names is not known")]
    UnknownKey,
    #[error("the issuer's keys cannot be had now")]
    KeysAway,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("a claim that it must have is missing or not what it must be")]
    Claims,
}

/// Checks tokens.
pub(super) struct Tokens {
    source: KeySource,
    rules: Rules,
}

/// What a token has to say.
struct Rules {
    validation: Validation,
    roles_claim: String,
}

/// The keys in force, and the tokens that were found good with them: when the keys change, so does
/// what is remembered.
pub(super) struct KeysInForce {
    /// None were had yet.
    keys: Option<VerificationKeys>,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
}

#[derive(Clone)]
struct Remembered {
    known: Known,
    /// In seconds since 1970.
    expires_at: u64,
}

impl KeysInForce {
    pub(super) fn new(keys: Option<VerificationKeys>) -> Arc<Self> {
        Arc::new(Self {
            keys,
            remembered: Mutex::default(),
        })
    }
}

impl Tokens {
    pub(super) async fn launch(
        jwt: &Jwt,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, KeySourceError> {
        Ok(Self {
            source: KeySource::launch(&jwt.keys, tasks, stop).await?,
            rules: Rules::of(jwt),
        })
    }

    /// Whose token this is. One that names a key which is not known has the keys looked for again.
    pub(super) async fn verify(&self, credential: &Credential<'_>) -> Result<Known, TokenError> {
        let found = self.rules.verify(credential, &self.source.keys());
        let Err(TokenError::UnknownKey | TokenError::KeysAway) = found else {
            return found;
        };
        match self.source.renewed().await {
            Some(keys) => self.rules.verify(credential, &keys),
            None => found,
        }
    }
}

impl Rules {
    fn of(jwt: &Jwt) -> Self {
        let mut validation = Validation {
            leeway: LEEWAY_S,
            validate_nbf: true,
            ..Validation::default()
        };
        validation.set_issuer(&[&jwt.issuer]);
        validation.set_audience(&jwt.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self {
            validation,
            roles_claim: jwt.roles_claim.clone(),
        }
    }

    fn verify(&self, credential: &Credential<'_>, keys: &KeysInForce) -> Result<Known, TokenError> {
        let now_s = u64::try_from(clock::now().0 / 1_000).unwrap_or_default();
        let is_fresh = |it: &&Remembered| now_s <= it.expires_at.saturating_add(LEEWAY_S);
        let remembered = keys
            .remembered
            .lock()
            .get(credential.digest())
            .filter(is_fresh)
            .cloned();
        if let Some(remembered) = remembered {
            return Ok(remembered.known);
        }
        let found = self.decode(credential.text(), keys.keys.as_ref())?;
        let mut remembered = keys.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(*credential.digest(), found.clone());
        Ok(found.known)
    }

    fn decode(
        &self,
        token: &str,
        keys: Option<&VerificationKeys>,
    ) -> Result<Remembered, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Unreadable);
        }
        let header = decode_header(token).map_err(|error| reason(error.kind()))?;
        // Whatever an issuer says is critical, it is nothing that is understood here.
        if header.crit.is_some() {
            return Err(TokenError::Unreadable);
        }
        let keys = keys.ok_or(TokenError::KeysAway)?;
        let VerificationKey { algorithm, key } = match keys {
            VerificationKeys::One(key) => key,
            VerificationKeys::Named(keys) => {
                let name = header.kid.as_deref().ok_or(TokenError::NoKeyId)?;
                keys.get(name).ok_or(TokenError::UnknownKey)?
            }
        };
        let mut validation = self.validation.clone();
        validation.algorithms = vec![*algorithm];
        let claims = decode::<Map<String, Value>>(token, key, &validation)
            .map_err(|error| reason(error.kind()))?
            .claims;
        Ok(Remembered {
            known: Known {
                name: subject(&claims)?,
                role: self.role(&claims),
            },
            expires_at: expiry(&claims),
        })
    }

    /// The greatest role that a token gives. Words that are no role of ours are somebody else's.
    fn role(&self, claims: &Map<String, Value>) -> Option<Role> {
        let role = |value: &Value| value.as_str().and_then(Role::named);
        let words = claims
            .get(&self.roles_claim)
            .or_else(|| nested(claims, &self.roles_claim))?;
        match words {
            Value::String(words) => words.split(' ').filter_map(Role::named).max(),
            Value::Array(words) => words.iter().filter_map(role).max(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }
}

/// The claim at the end of a path of names with dots between.
fn nested<'claims>(claims: &'claims Map<String, Value>, path: &str) -> Option<&'claims Value> {
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// Whom a token stands for. Nobody's token may pass for nobody, or for the coordinator itself.
fn subject(claims: &Map<String, Value>) -> Result<String, TokenError> {
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_name = !subject.is_empty()
        && subject.chars().count() <= SUBJECT_CHARS_MAX
        && !subject.chars().any(char::is_control)
        && ![ANONYMOUS, crate::store::SYSTEM].contains(&subject);
    is_name
        .then(|| subject.to_owned())
        .ok_or(TokenError::Claims)
}

/// When a token expires; one whose time is no whole number is not remembered.
fn expiry(claims: &Map<String, Value>) -> u64 {
    claims
        .get("exp")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn reason(kind: &ErrorKind) -> TokenError {
    if matches!(
        kind,
        ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm
    ) {
        TokenError::Algorithm
    } else if matches!(kind, ErrorKind::InvalidSignature) {
        TokenError::Signature
    } else if matches!(kind, ErrorKind::InvalidIssuer) {
        TokenError::Issuer
    } else if matches!(kind, ErrorKind::InvalidAudience) {
        TokenError::Audience
    } else if matches!(kind, ErrorKind::ExpiredSignature) {
        TokenError::Expired
    } else if matches!(kind, ErrorKind::ImmatureSignature) {
        TokenError::NotYet
    } else if matches!(
        kind,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_)
    ) {
        TokenError::Claims
    } else {
        TokenError::Unreadable
    }
}
