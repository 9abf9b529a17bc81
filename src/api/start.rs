//! Starting sagas: one, or up to 500 at once.

pub(super) mod read;

use std::collections::HashSet;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::access::Client;
use super::answer;
use super::body::Body;
use super::digest::digest;
use super::error::{ApiError, Problem};
use super::headers;
use super::openapi::parameters::{IdempotencyKey, Prefer, TraceHeaders};
use super::openapi::problems;
use super::openapi::requests::{BatchBody, StartBody};
use super::wire::saga::{Summary, Whole};
use crate::engine::{Accepted, Actor, Idempotency, Snapshot, StartRequest};
use read::{key_of, read_batch, read_start, take_key};

/// Says that the same start was seen before.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Starts a saga
///
/// Answered only when the saga is durable. With `Idempotency-Key` the same start again answers
/// with the saga that the first one made, as it is now.
#[utoipa::path(
    post,
    path = "/sagas",
    tag = "sagas",
    operation_id = "startSaga",
    params(IdempotencyKey, Prefer, TraceHeaders),
    request_body = StartBody,
    responses(
        (
            status = 202, description = "It is started.", body = Summary,
            headers(
                ("Location" = String, description = "Where the saga is."),
                ("Idempotent-Replayed" = String, description = "`true` when the same start was seen before."),
            ),
        ),
        (
            status = 200, description = "With `Prefer: wait=N`: it has finished or failed.", body = Whole,
            headers(
                ("Location" = String, description = "Where the saga is."),
                ("Idempotent-Replayed" = String, description = "`true` when the same start was seen before."),
            ),
        ),
        problems::Start,
    ),
)]
pub(super) async fn start(
    Client(actor): Client,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let key = headers::idempotency_key(&request)?;
    let wait = headers::wait(request.headers())?;
    // One with a key may be the same again, which is answered whatever there is to do.
    if key.is_none() {
        app.engine
            .takes_starts()
            .map_err(|error| ApiError::of_start(error, ""))?;
    }
    let value = body.json()?;
    // Whoever waits for the saga's end does not hold its place among the bodies meanwhile.
    drop(body);
    let idempotency = key.map(|key| Idempotency {
        key,
        digest: digest(&value),
    });
    let read = read_start(value, "").map_err(ApiError::input_invalid)?;
    let (traceparent, tracestate) = headers::trace_context(request.headers());
    let start = StartRequest {
        traceparent,
        tracestate,
        ..read.request(idempotency, actor)
    };
    let accepted = app
        .engine
        .start(start)
        .await
        .map_err(|error| ApiError::of_start(error, ""))?;
    let Some(within) = wait else {
        return Ok(started(&accepted.snapshot, accepted.replayed, false));
    };
    let settled = app.engine.settled(&accepted, within).await;
    let Accepted {
        snapshot, replayed, ..
    } = accepted;
    match settled {
        Some(settled) => Ok(started(&settled, replayed, true)),
        None => {
            let now = app.engine.saga(snapshot.saga.id).await.unwrap_or(snapshot);
            Ok(started(&now, replayed, false))
        }
    }
}

/// 200 with the whole saga when it was seen to settle, else 202 with its summary.
fn started(snapshot: &Snapshot, replayed: bool, settled: bool) -> HttpResponse {
    let mut answer = if settled {
        answer::json(StatusCode::OK, &Whole::of(snapshot))
    } else {
        answer::json(StatusCode::ACCEPTED, &Summary::of(snapshot))
    };
    let headers = answer.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/sagas/{}", snapshot.saga.id)) {
        headers.insert(LOCATION, location);
    }
    if replayed {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    answer
}

/// Starts up to 500 sagas
///
/// Each has a result of its own, in the same order.
#[utoipa::path(
    post,
    path = "/sagas:batch",
    tag = "sagas",
    operation_id = "startSagas",
    params(TraceHeaders),
    request_body = BatchBody,
    responses(
        (status = 207, description = "What became of each start.", body = BatchAnswer),
        problems::StartBatch,
    ),
)]
pub(super) async fn batch(
    Client(actor): Client,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let starts = read_batch(body.json()?).map_err(ApiError::input_invalid)?;
    let trace = headers::trace_context(request.headers());
    // Side by side, but a key that comes again waits for its first, so that the first in the
    // batch is the one that makes the saga.
    let mut keys = HashSet::new();
    let (firsts, repeats): (Vec<_>, Vec<_>) = starts
        .into_iter()
        .enumerate()
        .partition(|(_, start)| key_of(start).is_none_or(|key| keys.insert(key.to_owned())));
    let run = |(index, start)| start_one(&app, &actor, &trace, index, start);
    let mut results = join_all(firsts.into_iter().map(run)).await;
    for repeat in repeats {
        results.push(run(repeat).await);
    }
    results.sort_by_key(|(index, _)| *index);
    let results = results
        .iter()
        .map(|(_, result)| BatchResult::of(result, request.path()))
        .collect();
    Ok(answer::json(
        StatusCode::MULTI_STATUS,
        &BatchAnswer { results },
    ))
}

/// Makes the start at `index`, and says which it was.
async fn start_one(
    app: &App,
    actor: &Actor,
    trace: &(Option<String>, Option<String>),
    index: usize,
    start: Value,
) -> (usize, Result<Snapshot, ApiError>) {
    (index, start_here(app, actor, trace, index, start).await)
}

async fn start_here(
    app: &App,
    actor: &Actor,
    (traceparent, tracestate): &(Option<String>, Option<String>),
    index: usize,
    start: Value,
) -> Result<Snapshot, ApiError> {
    let pointer = format!("/sagas/{index}");
    let (key, start) = take_key(start, &pointer);
    let digest = key.is_some().then(|| digest(&start));
    let read = read_start(start, &pointer);
    let (key, read) = match (key.transpose(), read) {
        (Ok(key), Ok(read)) => (key, read),
        (key, read) => {
            let wrong = key
                .err()
                .into_iter()
                .chain(read.err().into_iter().flatten());
            return Err(ApiError::input_invalid(wrong.collect()));
        }
    };
    let idempotency = key
        .zip(digest)
        .map(|(key, digest)| Idempotency { key, digest });
    let request = StartRequest {
        traceparent: traceparent.clone(),
        tracestate: tracestate.clone(),
        ..read.request(idempotency, actor.clone())
    };
    let accepted = app.engine.start(request).await;
    Ok(accepted
        .map_err(|error| ApiError::of_start(error, &pointer))?
        .snapshot)
}

/// What became of a batch, start by start.
#[derive(Serialize, ToSchema)]
struct BatchAnswer<'a> {
    /// One for each start, in the same order.
    results: Vec<BatchResult<'a>>,
}

/// What became of one start of a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum BatchResult<'a> {
    /// It is started.
    Started {
        /// 202.
        status: u16,
        /// The saga as it is now.
        saga: Summary<'a>,
    },
    /// It is not started.
    Refused {
        /// What a single start would have been answered with.
        status: u16,
        /// Why.
        problem: Problem<'a>,
    },
}

impl<'a> BatchResult<'a> {
    fn of(result: &'a Result<Snapshot, ApiError>, path: &'a str) -> Self {
        match result {
            Ok(snapshot) => Self::Started {
                status: StatusCode::ACCEPTED.as_u16(),
                saga: Summary::of(snapshot),
            },
            Err(error) => Self::Refused {
                status: error.code.status().as_u16(),
                problem: error.problem(path),
            },
        }
    }
}
