//! The gate: who a request comes from, and whether it may pass. What it turns away is told to the
//! audit, and never with the credential.

mod credential;
mod key_source;
mod keys;
mod tokens;
mod violations;

use std::sync::Arc;

use actix_web::HttpRequest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::error::{ApiError, ErrorCode};
use crate::config::{Auth, Role};
use crate::engine::Actor;
use crate::store::Store;
use credential::Credential;
use keys::Keys;
use tokens::{TokenError, Tokens};
use violations::Violations;

pub use key_source::KeySourceError;

/// The name of whoever calls without a credential.
const ANONYMOUS: &str = "anonymous";

/// Lets requests in or not.
#[derive(Clone, Default)]
pub struct Gate {
    /// None lets everybody in.
    guard: Option<Arc<Guard>>,
}

struct Guard {
    keys: Keys,
    tokens: Option<Tokens>,
    violations: Violations,
}

/// Somebody who showed a credential that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: String,
    /// The greatest of the roles; whoever has none may do nothing.
    role: Option<Role>,
}

/// Why a request was turned away. Nothing here holds a credential.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("this call needs a credential: `Authorization: Bearer …`")]
    Missing,
    #[error("the request's authorization is not one `Bearer` credential")]
    Unreadable,
    #[error("the key is not known")]
    UnknownKey,
    #[error("the token is not taken: {0}")]
    Token(#[from] TokenError),
    #[error("this call needs the role {}", .needed.as_str())]
    Role { known: Known, needed: Role },
}

impl Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Missing | Self::Unreadable | Self::UnknownKey | Self::Token(_) => {
                ErrorCode::Unauthenticated
            }
            Self::Role { .. } => ErrorCode::Forbidden,
        }
    }

    /// Who it was, as far as that is known.
    fn actor(&self) -> &str {
        match self {
            Self::Missing | Self::Unreadable | Self::UnknownKey | Self::Token(_) => ANONYMOUS,
            Self::Role { known, .. } => &known.name,
        }
    }
}

impl Gate {
    /// A gate as it is configured. What it needs to do beside answering, keys that are read again
    /// and the audit, runs as `tasks` until it is told to `stop`.
    ///
    /// # Errors
    /// When the keys of tokens cannot be read.
    pub async fn launch(
        auth: &Auth,
        store: &Store,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, KeySourceError> {
        let Auth::Credentials { keys, jwt } = auth else {
            return Ok(Self::default());
        };
        let tokens = match jwt {
            Some(jwt) => Some(Tokens::launch(jwt, tasks, stop).await?),
            None => None,
        };
        let guard = Guard {
            keys: Keys::new(keys),
            tokens,
            violations: Violations::launch(store.clone(), tasks, stop),
        };
        Ok(Self {
            guard: Some(Arc::new(guard)),
        })
    }

    /// Who the request comes from, when that one may have `access`.
    pub(super) async fn admit(
        &self,
        request: &HttpRequest,
        access: Access,
    ) -> Result<Actor, ApiError> {
        let actor = |name: String| Actor {
            name,
            remote: request.peer_addr().map(|address| address.ip()),
        };
        match (&self.guard, access) {
            (Some(guard), Access::Role(needed)) => match guard.identify(request, needed).await {
                Ok(known) => Ok(actor(known.name)),
                Err(refusal) => {
                    guard.violations.tell(request, &refusal);
                    Err(ApiError::with(refusal.code(), refusal.to_string()))
                }
            },
            (None, _) | (Some(_), Access::Anyone) => Ok(actor(ANONYMOUS.to_owned())),
        }
    }
}

impl Guard {
    /// Who shows a credential that is good and has the role.
    async fn identify(&self, request: &HttpRequest, needed: Role) -> Result<Known, Refusal> {
        let credential = Credential::of(request.headers())?;
        let known = match (self.keys.find(&credential), &self.tokens) {
            (Some(known), _) => known,
            (None, Some(tokens)) => tokens.verify(&credential).await?,
            (None, None) => return Err(Refusal::UnknownKey),
        };
        if known.role.is_some_and(|role| role >= needed) {
            Ok(known)
        } else {
            Err(Refusal::Role { known, needed })
        }
    }
}
