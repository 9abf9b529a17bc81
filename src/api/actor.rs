//! Who calls. An extractor, so that no handler that changes something can leave it out.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

/// The name of whoever calls without a credential.
const ANONYMOUS: &str = "anonymous";

/// Who calls, as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Actor(pub(super) String);

impl FromRequest for Actor {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(ANONYMOUS.to_owned())))
    }
}
