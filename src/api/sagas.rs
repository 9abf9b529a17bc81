//! Looking at sagas: the list, and one.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::App;
use super::access::Reader;
use super::answer;
use super::error::{ApiError, ErrorCode};
use super::openapi::parameters::{Limit, SagaFilters, SagaPath};
use super::openapi::problems;
use super::query::ListQuery;
use super::wire::At;
use super::wire::Page;
use super::wire::saga::{FailureView, Summary, Whole};
use crate::definition::Definition;
use crate::engine::CommandError;
use crate::saga::SagaId;
use crate::store::{StoreError, SummaryRow};

/// Lists sagas
///
/// Newest first. Listed sagas are summaries.
#[utoipa::path(
    get,
    path = "/sagas",
    tag = "sagas",
    operation_id = "listSagas",
    params(SagaFilters, Limit),
    responses(
        (status = 200, description = "A page of sagas.", body = Page<Summary>),
        problems::ListSagas,
    ),
)]
pub(super) async fn list(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(request.query_string())?;
    // One more than is wanted tells whether there is a next page.
    let mut rows = if query.finds_nothing {
        Vec::new()
    } else {
        app.store
            .list(&query.filter, query.cursor, query.limit + 1)
            .await?
    };
    let next_cursor = cut(&mut rows, query.limit).map(|row| row.id.to_string());
    let items = rows.iter().map(Summary::of_row).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next_cursor }))
}

/// Cuts a page to its size; the last item on it when more follow.
pub(super) fn cut<T>(items: &mut Vec<T>, limit: u64) -> Option<&T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    items.last().filter(|_| more)
}

/// One saga, with its steps
///
/// Of one whose journal cannot be read there is only the summary, with no steps.
#[utoipa::path(
    get,
    path = "/sagas/{id}",
    tag = "sagas",
    operation_id = "getSaga",
    params(SagaPath),
    responses(
        (status = 200, description = "The saga.", body = Whole),
        problems::GetSaga,
    ),
)]
pub(super) async fn get(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    match app.engine.saga(id).await {
        Ok(snapshot) => Ok(answer::json(StatusCode::OK, &Whole::of(&snapshot))),
        Err(CommandError::JournalUnreadable) => {
            let row = summary(&app, id).await?;
            let whole = Whole::without_steps(Summary::of_row(&row));
            Ok(answer::json(StatusCode::OK, &whole))
        }
        Err(error) => Err(error.into()),
    }
}

/// The definition that a saga runs by.
pub(super) async fn definition_of(
    app: &App,
    row: &SummaryRow,
) -> Result<Arc<Definition>, ApiError> {
    let catalogue = app.engine.catalogue();
    let published = catalogue
        .look_up(&row.definition, Some(row.version))
        .await?;
    published
        .map(|published| published.definition)
        .ok_or_else(|| ApiError::new(ErrorCode::JournalUnreadable))
}

pub(super) async fn summary(app: &App, id: SagaId) -> Result<SummaryRow, ApiError> {
    let row = app.store.summary(id).await?;
    row.ok_or_else(|| ApiError::new(ErrorCode::SagaNotFound))
}

/// The saga that a route names.
pub(super) fn saga_id(request: &HttpRequest) -> Result<SagaId, ApiError> {
    let id = request.match_info().get("id").unwrap_or("");
    id.parse().map_err(|_wrong| {
        ApiError::with(
            ErrorCode::BadRequest,
            format!("`{id}` is not the id of a saga, a UUID"),
        )
    })
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            return Self::new(ErrorCode::DatabaseUnavailable);
        }
        tracing::error!(error = &error as &dyn std::error::Error, "a query failed");
        Self::new(ErrorCode::Internal)
    }
}

impl<'a> Summary<'a> {
    /// The summary of a stored saga.
    pub(super) fn of_row(row: &'a SummaryRow) -> Self {
        let failure = row.failure.as_ref().map(|failure| FailureView {
            step: failure.step.as_deref(),
            code: &failure.code,
            message: &failure.message,
        });
        Self {
            id: row.id,
            definition: &row.definition,
            version: row.version,
            key: row.key.as_deref(),
            labels: &row.labels,
            status: row.status.as_str(),
            suspended: row.suspended,
            overdue: row.overdue,
            failure,
            created_at: At(row.created_at),
            updated_at: At(row.updated_at),
            finished_at: row.finished_at.map(At),
            deadline: row.deadline.map(At),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_full_says_where_it_ends() {
        let mut items = vec![1, 2, 3];
        assert_eq!(cut(&mut items, 2), Some(&2));
        assert_eq!(items, [1, 2]);
        assert_eq!(cut(&mut items, 2), None);
    }
}
