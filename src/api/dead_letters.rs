//! Dead letters: messages that nobody could take. Looking at them, sending one again, closing one.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::access::{Operator, Reader};
use super::body::Body;
use super::commands::{REASON_CHARS_MAX, read_nothing};
use super::error::{ApiError, BodyProblem, ErrorCode};
use super::members::{Length, Members};
use super::openapi::parameters::{DeadLetterFilters, DeadLetterPath, Limit};
use super::openapi::problems;
use super::openapi::requests::{DiscardBody, EmptyBody};
use super::query::{Parameters, invalid};
use super::wire::Page;
use super::wire::dead_letter::DeadLetterView;
use super::{App, answer};
use crate::engine::DeadLetterError;
use crate::saga::SagaId;
use crate::store::{DeadLetterFilter, DeadLetterId, DeadLetterStatus, Transport};

/// The parameters of the list.
const PARAMETERS: &[&str] = &[
    "status",
    "queue",
    "saga",
    "participant",
    "transport",
    "reason",
    "received_after",
    "received_before",
    "limit",
    "cursor",
];

/// Lists dead letters
///
/// Newest first. Each is shown whole; a page of long ones has fewer than `limit`.
#[utoipa::path(
    get,
    path = "/dead-letters",
    tag = "dead letters",
    operation_id = "listDeadLetters",
    params(DeadLetterFilters, Limit),
    responses(
        (status = 200, description = "A page of dead letters.", body = Page<DeadLetterView>),
        problems::ListDeadLetters,
    ),
)]
pub(super) async fn list(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::of(request.query_string(), PARAMETERS)?;
    let filter = filter(&parameters)?;
    let cursor = parameters.cursor::<DeadLetterId>()?;
    let limit = parameters.limit()?;
    let page = app.store.dead_letters(&filter, cursor, limit).await?;
    let last = page.letters.last().filter(|_| page.more);
    let next_cursor = last.map(|letter| letter.id.to_string());
    let items = page.letters.iter().map(DeadLetterView::of).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next_cursor }))
}

fn filter(parameters: &Parameters) -> Result<DeadLetterFilter, ApiError> {
    let one_of =
        |name: &str, words: &[&str]| invalid(name, &format!("must be one of {}", words.join(", ")));
    let status = |word: &str| {
        let words = DeadLetterStatus::ALL.map(DeadLetterStatus::as_str);
        DeadLetterStatus::of(word).ok_or_else(|| one_of("status", &words))
    };
    let transport = |word: String| {
        let words = Transport::ALL.map(Transport::as_str);
        Transport::of(&word).ok_or_else(|| one_of("transport", &words))
    };
    let statuses = parameters.all("status").map(status);
    Ok(DeadLetterFilter {
        statuses: statuses.collect::<Result<_, _>>()?,
        transport: parameters.text("transport")?.map(transport).transpose()?,
        queue: parameters.text("queue")?,
        saga: parameters.parsed::<SagaId>("saga", "must be the id of a saga, a UUID")?,
        participant: parameters.text("participant")?,
        reason: parameters.text("reason")?,
        received_after: parameters.moment("received_after")?,
        received_before: parameters.moment("received_before")?,
    })
}

/// One dead letter
#[utoipa::path(
    get,
    path = "/dead-letters/{id}",
    tag = "dead letters",
    operation_id = "getDeadLetter",
    params(DeadLetterPath),
    responses(
        (status = 200, description = "The letter, with the whole message.", body = DeadLetterView),
        problems::GetDeadLetter,
    ),
)]
pub(super) async fn get(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let letter = app.store.dead_letter(letter_id(&request)?).await?;
    let letter = letter.ok_or_else(|| ApiError::new(ErrorCode::DeadLetterNotFound))?;
    Ok(answer::json(StatusCode::OK, &DeadLetterView::of(&letter)))
}

/// Replays a dead letter
///
/// The message is sent again to where it was going, once, whether its step still waits or not.
/// Where the answer to this call is lost, look at the letter before it is replayed again.
#[utoipa::path(
    post,
    path = "/dead-letters/{id}/replay",
    tag = "dead letters",
    operation_id = "replayDeadLetter",
    params(DeadLetterPath),
    request_body = Option<EmptyBody>,
    responses(
        (status = 200, description = "The letter as it is now.", body = DeadLetterView),
        problems::ReplayDeadLetter,
    ),
)]
pub(super) async fn replay(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let id = letter_id(&request)?;
    read_nothing(body.json_if_any()?).map_err(ApiError::input_invalid)?;
    let letter = app.engine.replay_dead_letter(id, actor).await?;
    Ok(answer::json(StatusCode::OK, &DeadLetterView::of(&letter)))
}

/// Discards a dead letter
///
/// It is closed, and kept.
#[utoipa::path(
    post,
    path = "/dead-letters/{id}/discard",
    tag = "dead letters",
    operation_id = "discardDeadLetter",
    params(DeadLetterPath),
    request_body = DiscardBody,
    responses(
        (status = 200, description = "The letter as it is now.", body = DeadLetterView),
        problems::DiscardDeadLetter,
    ),
)]
pub(super) async fn discard(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let id = letter_id(&request)?;
    let reason = read_discard(body.json()?).map_err(ApiError::input_invalid)?;
    let letter = app.engine.discard_dead_letter(id, reason, actor).await?;
    Ok(answer::json(StatusCode::OK, &DeadLetterView::of(&letter)))
}

/// The letter that a route names.
fn letter_id(request: &HttpRequest) -> Result<DeadLetterId, ApiError> {
    let id = request.match_info().get("id").unwrap_or("");
    id.parse().map_err(|_wrong| {
        let detail = format!("`{id}` is not the id of a dead letter, a UUID");
        ApiError::with(ErrorCode::BadRequest, detail)
    })
}

fn read_discard(value: Value) -> Result<String, Vec<BodyProblem>> {
    let mut members = Members::of(value, "")?;
    let length = Length {
        min: 1,
        max: REASON_CHARS_MAX,
    };
    let reason = members.required_text("reason", length);
    members.close().map(|()| reason)
}

impl From<DeadLetterError> for ApiError {
    fn from(error: DeadLetterError) -> Self {
        let code = match error {
            DeadLetterError::Store(error) => return error.into(),
            DeadLetterError::NotFound => return Self::new(ErrorCode::DeadLetterNotFound),
            DeadLetterError::Ending => return Self::new(ErrorCode::Draining),
            DeadLetterError::AlreadySettled { .. } => ErrorCode::AlreadySettled,
            DeadLetterError::BrokerAway(source) => {
                return Self::with(ErrorCode::BrokerUnavailable, source.to_string());
            }
            DeadLetterError::NotReplayable(source) => {
                return Self::with(ErrorCode::NotReplayable, source.to_string());
            }
            DeadLetterError::TransportUnknown { .. } => ErrorCode::NotReplayable,
        };
        Self::with(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dispatch::ResendError;
    use crate::dispatch::broker::BrokerKind;

    #[test]
    fn a_discard_has_a_reason() {
        let body = json!({ "reason": "of a test" });
        assert_eq!(read_discard(body), Ok("of a test".to_owned()));
        for (body, pointer) in [
            (json!(null), ""),
            (json!({}), "/reason"),
            (json!({ "reason": null }), "/reason"),
            (json!({ "reason": "" }), "/reason"),
            (
                json!({ "reason": "r".repeat(REASON_CHARS_MAX + 1) }),
                "/reason",
            ),
            (json!({ "reason": "r", "note": "n" }), "/note"),
        ] {
            let shown = body.to_string();
            let problems = read_discard(body).unwrap_err();
            assert_eq!(problems[0].pointer, pointer, "{shown:.40}");
        }
    }

    #[test]
    fn what_keeps_a_letter_open_says_whether_to_wait() {
        let kind = BrokerKind::RabbitMq;
        let why = "no such queue".to_owned();
        let cases = [
            (
                DeadLetterError::BrokerAway(ResendError::Away(kind)),
                "broker_unavailable: rabbitmq does not answer",
            ),
            (
                DeadLetterError::NotReplayable(ResendError::NotConfigured(kind)),
                "not_replayable: rabbitmq is not configured",
            ),
            (
                DeadLetterError::NotReplayable(ResendError::Refused { broker: kind, why }),
                "not_replayable: rabbitmq did not take it: no such queue",
            ),
            (
                DeadLetterError::TransportUnknown {
                    transport: "pigeon".to_owned(),
                },
                "not_replayable: the dead letter came through pigeon, which this version does not \
                 know",
            ),
        ];
        for (error, told) in cases {
            assert_eq!(ApiError::from(error).to_string(), told);
        }
    }

    #[test]
    fn every_filter_is_read() {
        let query = "status=open&status=replayed&queue=q&saga=0198c7c4-aaaa-7000-8000-000000000000\
            &participant=p&transport=sqs&reason=expired&received_after=2026-11-21T09:30:00Z\
            &received_before=2026-11-21T09:30:00.0001Z";
        let read = filter(&Parameters::of(query, PARAMETERS).unwrap()).unwrap();
        assert_eq!(
            read.statuses,
            [DeadLetterStatus::Open, DeadLetterStatus::Replayed]
        );
        assert_eq!(read.transport, Some(Transport::Sqs));
        assert_eq!(read.queue.as_deref(), Some("q"));
        assert_eq!(read.participant.as_deref(), Some("p"));
        assert_eq!(read.reason.as_deref(), Some("expired"));
        assert!(read.saga.is_some());
        let times = [read.received_after, read.received_before];
        let [after, before] = times.map(|time| time.unwrap().0);
        assert_eq!((after, before), (1_795_253_400_000, 1_795_253_400_001));
        for bad in [
            "status=closed",
            "status=",
            "transport=http",
            "saga=x",
            "queue=a&queue=b",
        ] {
            let parameters = Parameters::of(bad, PARAMETERS).unwrap();
            let error = filter(&parameters).unwrap_err();
            assert_eq!(error.code, ErrorCode::ParameterInvalid, "{bad}");
        }
    }
}
