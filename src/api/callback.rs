//! The callback: a participant that only accepted a call (`reply: async`) tells what came of it.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::App;
use super::access::Anyone;
use super::body::Body;
use super::digest::digest;
use super::error::{ApiError, BodyProblem, ErrorCode};
use super::members::Members;
use super::openapi::parameters::{CallbackToken, SagaPath, StepPath};
use super::openapi::problems;
use super::openapi::requests::ReplyBody;
use super::query::Parameters;
use super::sagas::saga_id;
use crate::definition::request::Phase;
use crate::engine::callbacks::Granted;
use crate::engine::replies::Taken;
use crate::engine::{CommandError, clock};
use crate::message::{Reply, ReplyOutcome};
use crate::saga::SagaId;

/// The phases as words.
pub(super) const PHASES: &[(&str, Phase)] = &[
    ("action", Phase::Action),
    ("compensation", Phase::Compensation),
];
/// The outcomes as words.
pub(super) const OUTCOMES: &[(&str, &str)] = &[
    ("succeeded", "succeeded"),
    ("refused", "refused"),
    ("retry", "retry"),
];

/// Tells what came of a call
///
/// Where a participant answered 202 to a step with `reply: async`, it posts the outcome here, to the URL
/// of `Amends-Callback`. The same JSON value again is answered 202 again.
#[utoipa::path(
    post,
    path = "/sagas/{id}/steps/{step}/reply",
    tag = "callbacks",
    operation_id = "replyToStep",
    params(SagaPath, StepPath, CallbackToken),
    request_body = ReplyBody,
    responses(
        (status = 202, description = "The reply is taken, or was before."),
        problems::Reply,
    ),
)]
pub(super) async fn reply(
    _: Anyone,
    app: Data<App>,
    call: Called,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let Called {
        saga,
        step,
        granted,
    } = call;
    let value = body.json()?;
    let seen_as = reply_id(&value, granted);
    let (phase, outcome, retries) = read_reply(value).map_err(ApiError::input_invalid)?;
    if phase.is_some_and(|phase| phase != granted.phase) {
        return Err(ApiError::new(ErrorCode::BadToken));
    }
    let reply = Reply {
        id: seen_as(retries),
        source: "callback".to_owned(),
        saga,
        step,
        phase: granted.phase,
        outcome,
    };
    let named = reply.step.clone();
    match app.engine.reply(reply).await? {
        Taken::Accepted | Taken::Duplicate => Ok(HttpResponse::new(StatusCode::ACCEPTED)),
        Taken::Late => Err(ApiError::new(ErrorCode::NotWaiting)),
        Taken::Stray => Err(CommandError::StepNotFound(named).into()),
    }
}

/// A call that its token lets answer. It stands before the body among the arguments: of whoever has no
/// token no body is read.
pub(super) struct Called {
    saga: SagaId,
    step: String,
    granted: Granted,
}

impl Called {
    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let saga = saga_id(request)?;
        let step = request.match_info().get("step").unwrap_or("").to_owned();
        let parameters = Parameters::of(request.query_string(), &["token"])?;
        let token = parameters.text("token")?.unwrap_or_default();
        let app = request.app_data::<Data<App>>();
        let callbacks = app.and_then(|app| app.engine.callbacks());
        let granted = callbacks
            .and_then(|callbacks| callbacks.check(&token, saga, &step, clock::now()).ok())
            .ok_or_else(|| ApiError::new(ErrorCode::BadToken))?;
        Ok(Self {
            saga,
            step,
            granted,
        })
    }
}

impl FromRequest for Called {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// What makes a callback one: its JSON value, and for one that asks to try again, the attempt that it
/// was asked by, because the next attempt may well be answered with the same words.
fn reply_id(value: &Value, granted: Granted) -> impl Fn(bool) -> String + use<> {
    let digest = digest(value);
    move |retries| {
        let mut hash = Sha256::new();
        hash.update(granted.phase.as_str());
        hash.update(digest);
        if retries {
            hash.update(granted.attempt.to_be_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("callback:{hex}")
    }
}

/// The phase, the outcome, and whether that asks to try again.
fn read_reply(value: Value) -> Result<(Option<Phase>, ReplyOutcome, bool), Vec<BodyProblem>> {
    let mut members = Members::of(value, "")?;
    let phase = members.optional_word("phase", PHASES);
    let word = members.word("outcome", OUTCOMES);
    let data = members.payload("data").unwrap_or_default();
    let outcome = word.and_then(|word| match ReplyOutcome::read(word, data)? {
        Ok(outcome) => Some(outcome),
        Err(why) => {
            members.problem("data", "type", why);
            None
        }
    });
    members.close()?;
    // `close` has told of what is missing.
    let outcome = outcome.ok_or_else(Vec::new)?;
    Ok((phase, outcome, word == Some("retry")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::saga::StepError;

    #[test]
    fn a_reply_is_read() {
        let (phase, outcome, retries) =
            read_reply(json!({ "outcome": "succeeded", "data": { "id": 7 } })).unwrap();
        assert_eq!((phase, retries), (None, false));
        assert_eq!(outcome, ReplyOutcome::Succeeded(json!({ "id": 7 })));
        let body = json!({ "phase": "compensation", "outcome": "retry",
            "data": { "code": "busy", "message": "later", "retryafter": 2 } });
        let (phase, outcome, retries) = read_reply(body).unwrap();
        assert_eq!((phase, retries), (Some(Phase::Compensation), true));
        let error = StepError::new("busy", "later");
        let after_ms = Some(2_000);
        assert_eq!(outcome, ReplyOutcome::Retry { error, after_ms });
    }

    #[test]
    fn what_is_wrong_with_a_reply_is_told() {
        for (body, expected) in [
            (json!(7), vec![""]),
            (json!({}), vec!["/outcome"]),
            (json!({ "outcome": "maybe" }), vec!["/outcome"]),
            (json!({ "outcome": "refused", "data": "no" }), vec!["/data"]),
            (
                json!({ "outcome": "succeeded", "phase": "forward" }),
                vec!["/phase"],
            ),
            (json!({ "outcome": "succeeded", "id": 1 }), vec!["/id"]),
        ] {
            let problems = read_reply(body.clone()).unwrap_err();
            let pointers: Vec<&str> = problems.iter().map(|p| p.pointer.as_str()).collect();
            assert_eq!(pointers, expected, "{body}");
        }
    }

    #[test]
    fn the_same_value_is_the_same_reply() {
        let id = |value: Value, attempt, retries| {
            let phase = Phase::Action;
            reply_id(&value, Granted { phase, attempt })(retries)
        };
        let one = json!({ "outcome": "succeeded", "data": { "a": 1, "b": 2 } });
        let same = json!({ "data": { "b": 2.0, "a": 1 }, "outcome": "succeeded" });
        assert_eq!(id(one.clone(), 1, false), id(same, 2, false));
        let retry = json!({ "outcome": "retry" });
        assert_eq!(id(retry.clone(), 1, true), id(retry.clone(), 1, true));
        assert_ne!(id(retry.clone(), 1, true), id(retry.clone(), 2, true));
        assert_ne!(id(one, 1, false), id(retry, 1, false));
    }
}
