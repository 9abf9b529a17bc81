//! Keys: known by their digests only.

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::Known;
use super::credential::Credential;
use crate::config::ApiKey;

/// The keys that are taken.
pub(super) struct Keys(Vec<ApiKey>);

impl Keys {
    pub(super) fn new(keys: &[ApiKey]) -> Self {
        Self(keys.to_vec())
    }

    /// Whose key this is. Every digest is compared to its end, whichever it is that fits, so that
    /// the time taken tells nothing of them.
    pub(super) fn find(&self, credential: &Credential<'_>) -> Option<Known> {
        let (mut found, mut place) = (Choice::from(0), 0_u32);
        for (at, key) in (0_u32..).zip(&self.0) {
            let fits = credential.digest().ct_eq(key.digest.as_bytes());
            place.conditional_assign(&at, fits);
            found |= fits;
        }
        if !bool::from(found) {
            return None;
        }
        let key = self.0.get(usize::try_from(place).ok()?)?;
        Some(Known {
            name: key.name.clone(),
            role: Some(key.role),
        })
    }
}
