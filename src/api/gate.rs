//! The gate: who a request comes from, and whether it may pass.

use actix_web::HttpRequest;

use super::access::Access;
use super::error::ApiError;
use crate::engine::Actor;

/// The name of whoever calls without a credential.
const ANONYMOUS: &str = "anonymous";

/// Lets requests in or not.
#[derive(Clone, Debug, Default)]
pub struct Gate {}

impl Gate {
    /// Who the request comes from, when that one may have `access`.
    #[expect(clippy::unused_async, reason = "a key may have to be fetched first")]
    pub(super) async fn admit(
        &self,
        request: &HttpRequest,
        _access: Access,
    ) -> Result<Actor, ApiError> {
        Ok(Actor {
            name: ANONYMOUS.to_owned(),
            remote: request.peer_addr().map(|address| address.ip()),
        })
    }
}
