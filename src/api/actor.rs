//! Who calls. An extractor, so that no handler that changes something can leave it out.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use crate::engine::Actor;

/// The name of whoever calls without a credential.
const ANONYMOUS: &str = "anonymous";

impl FromRequest for Actor {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self {
            name: ANONYMOUS.to_owned(),
            remote: request.peer_addr().map(|address| address.ip()),
        }))
    }
}
