//! Who may call what. Every handler takes a caller as its first argument, and the caller's type is
//! the role that is needed: a handler without one cannot be put into the table of routes, and what
//! the table says is what the handler asks for.
//!
//! [`admit`] runs before anything else of a request is read, so who may not call learns nothing and
//! has no body taken.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

use super::App;
use super::error::{ApiError, ErrorCode};
use crate::config::Role;
use crate::engine::Actor;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody: what it answers is no secret, or the call brings its own proof.
    Anyone,
    /// Whoever has at least this role.
    Role(Role),
}

/// A caller: an extractor that stands for the access that a handler needs.
pub(super) trait Caller: FromRequest {
    /// Who may call.
    const ACCESS: Access;
}

/// The arguments of a handler whose first one is a [`Caller`].
pub(super) trait Admits {
    /// Who may call.
    const ACCESS: Access;
}

macro_rules! callers {
    ($($(#[$doc:meta])* $name:ident = $access:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[allow(dead_code, reason = "not every role has a call yet, or one that tells who called")]
        pub(super) struct $name(pub(super) Actor);

        impl Caller for $name {
            const ACCESS: Access = $access;
        }

        impl FromRequest for $name {
            type Error = ApiError;
            type Future = Ready<Result<Self, ApiError>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(admitted(request, Self::ACCESS).map(Self))
            }
        }
    )*};
}

callers! {
    /// Whoever reads: every GET, and checking a definition.
    Reader = Access::Role(Role::Reader);
    /// Whoever starts sagas and signals them.
    Client = Access::Role(Role::Client);
    /// Whoever puts sagas right.
    Operator = Access::Role(Role::Operator);
    /// Whoever may do everything.
    Admin = Access::Role(Role::Admin);
    /// Whoever calls, known or not.
    Anyone = Access::Anyone;
}

macro_rules! admits {
    ($($rest:ident)*) => {
        impl<Who: Caller, $($rest),*> Admits for (Who, $($rest,)*) {
            const ACCESS: Access = Who::ACCESS;
        }
    };
}

admits! {}
admits! { A }
admits! { A B }
admits! { A B C }
admits! { A B C D }
admits! { A B C D E }
admits! { A B C D E F }

/// What a request was let in as.
struct Admission {
    access: Access,
    actor: Actor,
}

/// Lets a request in, or says why not. The handler's caller is made of what is left here.
pub(super) async fn admit(request: &HttpRequest, access: Access) -> Result<(), ApiError> {
    let app = request
        .app_data::<Data<App>>()
        .ok_or_else(|| ApiError::new(ErrorCode::Internal))?;
    let actor = app.gate.admit(request, access).await?;
    request.extensions_mut().insert(Admission { access, actor });
    Ok(())
}

/// Who was let in with that access: nobody without, so that a route which forgot to ask is closed.
fn admitted(request: &HttpRequest, needed: Access) -> Result<Actor, ApiError> {
    let admission = request.extensions_mut().remove::<Admission>();
    admission
        .filter(|admission| admission.access == needed)
        .map(|admission| admission.actor)
        .ok_or_else(|| ApiError::with(ErrorCode::Internal, "the caller was not asked for"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn admission(access: Access) -> Admission {
        let (name, remote) = ("ann".to_owned(), None);
        let actor = Actor { name, remote };
        Admission { access, actor }
    }

    async fn extracted<C: FromRequest<Error = ApiError>>(
        left: Option<Admission>,
    ) -> Result<C, ApiError> {
        let request = TestRequest::default().to_http_request();
        if let Some(left) = left {
            request.extensions_mut().insert(left);
        }
        C::from_request(&request, &mut Payload::None).await
    }

    #[tokio::test]
    async fn who_was_not_let_in_for_this_is_not_in() {
        let operator = Access::Role(Role::Operator);
        let inside = extracted::<Operator>(Some(admission(operator)))
            .await
            .unwrap();
        assert_eq!(inside.0.name, "ann");
        for left in [None, Some(Access::Anyone), Some(Access::Role(Role::Admin))] {
            let error = extracted::<Operator>(left.map(admission))
                .await
                .unwrap_err();
            assert_eq!(error.code, ErrorCode::Internal, "{left:?}");
        }
    }

    #[tokio::test]
    async fn without_an_app_nobody_is_let_in() {
        let request = TestRequest::default().to_http_request();
        let error = admit(&request, Access::Anyone).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
    }
}
