//! Why a saga stands where it stands, in plain words and as data: on what it waits, since when and
//! until when, and what a cancel would undo now.

mod sentence;
#[cfg(test)]
mod tests;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Reader;
use super::error::ApiError;
use super::openapi::parameters::SagaPath;
use super::openapi::{examples, problems, words};
use super::sagas::{saga_id, summary};
use super::wire::At;
use super::wire::saga::{ErrorView, WaitingFor, step_id, step_words};
use super::{App, answer};
use crate::definition::model::Step;
use crate::definition::request::Phase;
use crate::engine::{CommandError, Snapshot, clock};
use crate::saga::undo::{NoCancel, undoes};
use crate::saga::{ActionOutcome, Rejection, Saga, SagaId, Status, StepRecord, Timestamp};

/// Where a saga stands, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = examples::explanation)]
pub(super) struct Explanation<'a> {
    /// The saga.
    #[schema(value_type = uuid::Uuid)]
    id: SagaId,
    /// Its status.
    #[schema(schema_with = words::saga_status)]
    status: &'static str,
    /// All of it in plain words.
    summary: String,
    /// On what it waits.
    waiting: Vec<Waiting<'a>>,
    /// What a cancel would do now.
    cancel: Cancel<'a>,
}

/// One thing on which a saga waits.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Waiting<'a> {
    /// The step that waits; null where the saga as a whole is suspended.
    #[schema(required)]
    step: Option<&'a str>,
    /// On what.
    #[schema(schema_with = words::waiting_for)]
    r#for: WaitingFor<'a>,
    /// On whom, where it is a participant.
    #[schema(required)]
    participant: Option<&'a str>,
    /// Since when.
    #[schema(required)]
    since: Option<At>,
    /// Until when at the latest: the answer is due, the next attempt begins, the wait is over.
    #[schema(required)]
    until: Option<At>,
    /// Which attempt is under way, or comes next.
    #[schema(required)]
    attempt: Option<u32>,
    /// Why the last attempt failed.
    #[schema(required)]
    last_error: Option<ErrorView<'a>>,
    /// Which of the step's calls it is about.
    #[serde(skip)]
    phase: Phase,
    /// Whether its command is a dead letter.
    #[serde(skip)]
    dead_lettered: bool,
    /// Whether nobody knows if its action was done.
    #[serde(skip)]
    unknown: bool,
    /// How a person may resolve the step.
    #[serde(skip)]
    resolutions: Vec<&'static str>,
}

/// What a cancel would do now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cancel<'a> {
    /// Whether it would change anything.
    possible: bool,
    /// Why not: `already_finished`, `past_pivot`, `failed` (it stays as it is until it is retried
    /// or resolved), `journal_unreadable`.
    #[schema(required)]
    why_not: Option<&'static str>,
    /// The steps that would be undone, in their order: those of one group at the same time. Of a
    /// saga that is being undone, those that still are to be.
    undoes: Vec<Vec<&'a str>>,
}

/// Why a saga stands where it stands
///
/// In plain words and as data: on what it waits, on whom, since when, when the next attempt
/// begins, and what a cancel would undo now, in what order.
#[utoipa::path(
    get,
    path = "/sagas/{id}/explain",
    tag = "sagas",
    operation_id = "explainSaga",
    params(SagaPath),
    responses(
        (status = 200, description = "Where it stands.", body = Explanation),
        problems::GetSaga,
    ),
)]
pub(super) async fn explain(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    match app.engine.saga(id).await {
        Ok(snapshot) => {
            let timeout_ms = |participant: &str| app.engine.timeout_ms(participant);
            let explanation = Explanation::of(&snapshot, clock::now(), &timeout_ms);
            Ok(answer::json(StatusCode::OK, &explanation))
        }
        Err(CommandError::JournalUnreadable) => {
            let status = summary(&app, id).await?.status;
            Ok(answer::json(
                StatusCode::OK,
                &Explanation::unreadable(id, status),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

impl<'a> Explanation<'a> {
    /// Where a saga stands at `now`; `timeout_ms` is how long a participant may take to answer.
    pub(super) fn of(
        snapshot: &'a Snapshot,
        now: Timestamp,
        timeout_ms: &dyn Fn(&str) -> u64,
    ) -> Self {
        let Snapshot { definition, saga } = snapshot;
        let steps = definition.steps.iter().zip(&saga.steps);
        let mut waiting: Vec<_> = steps
            .filter_map(|(step, record)| Waiting::of(snapshot, step, record, timeout_ms))
            .collect();
        if saga.suspended && !saga.status().is_settled() {
            waiting.push(Waiting::for_a_resume(saga));
        }
        Self {
            id: saga.id,
            status: saga.status().as_str(),
            summary: sentence::summary(snapshot, &waiting, now),
            waiting,
            cancel: Cancel::of(snapshot, now),
        }
    }

    /// Of a saga whose journal cannot be read there is not much to say.
    fn unreadable(id: SagaId, status: Status) -> Self {
        Self {
            id,
            status: status.as_str(),
            summary: sentence::UNREADABLE.to_owned(),
            waiting: Vec::new(),
            cancel: Cancel {
                possible: false,
                why_not: Some("journal_unreadable"),
                undoes: Vec::new(),
            },
        }
    }
}

impl<'a> Waiting<'a> {
    fn of(
        Snapshot { definition, saga }: &'a Snapshot,
        step: &'a Step,
        record: &'a StepRecord,
        timeout_ms: &dyn Fn(&str) -> u64,
    ) -> Option<Self> {
        let (_, waits_for) = step_words(saga, step, record);
        let r#for = waits_for?;
        let phase = record.state.phase();
        let begun = record.attempt(phase);
        let (until, attempt) = match r#for {
            WaitingFor::Reply if record.awaited_until.is_some() => {
                (record.awaited_until, Some(begun))
            }
            WaitingFor::Operator if record.dead_lettered => (record.awaited_until, Some(begun)),
            WaitingFor::Reply => {
                let own = own_timeout_ms(step, phase);
                let participant = step.action().map(|action| action.participant.as_str());
                let timeout = own.unwrap_or_else(|| participant.map_or(0, timeout_ms));
                let mut until = record.since.plus_ms(timeout);
                if let (Phase::Action, Some(bound)) = (phase, saga.not_after(definition)) {
                    until = until.min(bound);
                }
                (Some(until), Some(begun))
            }
            WaitingFor::Retry | WaitingFor::Guard(_) => (record.state.until(), Some(begun + 1)),
            WaitingFor::Signal(_) | WaitingFor::Time => (record.state.until(), None),
            WaitingFor::Operator => (None, None),
        };
        let resolutions = crate::saga::resolutions(definition, saga, step.index);
        Some(Self {
            step: Some(&step.id),
            r#for,
            participant: step.action().map(|action| action.participant.as_str()),
            since: Some(At(record.since)),
            until: until.map(At),
            attempt,
            last_error: record.error.as_ref().map(ErrorView::of),
            phase,
            dead_lettered: record.dead_lettered,
            unknown: record.state.action_outcome() == Some(ActionOutcome::Unknown),
            resolutions: resolutions.into_iter().map(sentence::resolution).collect(),
        })
    }

    /// The saga as a whole waits for somebody to resume it.
    fn for_a_resume(saga: &Saga) -> Self {
        Self {
            step: None,
            r#for: WaitingFor::Operator,
            participant: None,
            since: saga.suspended_at.map(At),
            until: None,
            attempt: None,
            last_error: None,
            phase: Phase::Action,
            dead_lettered: false,
            unknown: false,
            resolutions: Vec::new(),
        }
    }
}

/// How long the definition lets one attempt take.
fn own_timeout_ms(step: &Step, phase: Phase) -> Option<u64> {
    match phase {
        Phase::Action => step.action().and_then(|action| action.timeout_ms),
        Phase::Compensation => step
            .compensation()
            .map(|compensation| compensation.timeout_ms),
    }
}

impl<'a> Cancel<'a> {
    fn of(Snapshot { definition, saga }: &'a Snapshot, now: Timestamp) -> Self {
        let why_not = |word| Self {
            possible: false,
            why_not: Some(word),
            undoes: Vec::new(),
        };
        match undoes(definition, saga, now) {
            Ok(groups) => {
                let ids = |group: Vec<_>| {
                    let group = group.into_iter();
                    group.map(|step| step_id(definition, step)).collect()
                };
                Self {
                    possible: true,
                    why_not: None,
                    undoes: groups.into_iter().map(ids).collect(),
                }
            }
            Err(NoCancel::Failed) => why_not("failed"),
            Err(NoCancel::Rejected(Rejection::PastPivot)) => why_not("past_pivot"),
            // A cancel is turned away for no other reason.
            Err(NoCancel::Rejected(
                Rejection::AlreadyFinished
                | Rejection::NotFailed
                | Rejection::NotResolvable
                | Rejection::NothingAsked
                | Rejection::SignalUnknown
                | Rejection::TooManySignals,
            )) => why_not("already_finished"),
        }
    }
}
