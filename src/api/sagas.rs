//! Looking at sagas: the list, one, its journal.

use std::str::FromStr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::App;
use super::access::Reader;
use super::answer;
use super::error::{ApiError, ErrorCode};
use super::query::{ListQuery, Parameters};
use super::wire::At;
use super::wire::Page;
use super::wire::event::EventView;
use super::wire::saga::{FailureView, Summary, Whole};
use crate::definition::Definition;
use crate::engine::CommandError;
use crate::saga::replay::Transition;
use crate::saga::{Event, SagaId, Timestamp};
use crate::store::{StoreError, StoredTransition, SummaryRow};

/// `GET /sagas`
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

/// `GET /sagas/{id}`
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

/// `GET /sagas/{id}/events`
pub(super) async fn events(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    let parameters = Parameters::of(request.query_string(), &["limit", "cursor"])?;
    let limit = parameters.limit()?;
    let EventCursor(after) = parameters.cursor()?.unwrap_or_default();
    let row = summary(&app, id).await?;
    let definition = definition_of(&app, &row).await?;
    let rows = app.store.transitions(id, after + 1, limit + 1).await?;
    let mut items: Vec<_> = rows.iter().flat_map(events_of).collect();
    items.retain(|item| item.seq > after);
    let next_cursor = cut(&mut items, limit).map(|last| last.seq.to_string());
    let items = items.iter().map(|item| item.view(&definition)).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next_cursor }))
}

/// The definition that a saga runs by.
async fn definition_of(app: &App, row: &SummaryRow) -> Result<Arc<Definition>, ApiError> {
    let catalogue = app.engine.catalogue();
    let published = catalogue
        .look_up(&row.definition, Some(row.version))
        .await?;
    published
        .map(|published| published.definition)
        .ok_or_else(|| ApiError::new(ErrorCode::JournalUnreadable))
}

async fn summary(app: &App, id: SagaId) -> Result<SummaryRow, ApiError> {
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
    fn of_row(row: &'a SummaryRow) -> Self {
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

/// The number of the last event that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct EventCursor(u64);

/// The text is not a cursor.
#[derive(Debug)]
struct NoCursor;

impl FromStr for EventCursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        // Numbers in the database are 64 bits with a sign.
        let number = text.parse::<u32>().map_err(|_wrong| NoCursor)?;
        Ok(Self(u64::from(number)))
    }
}

/// One event of a page; none where its row cannot be read.
struct PageItem {
    seq: u64,
    at: Timestamp,
    event: Option<Event>,
}

impl PageItem {
    fn view<'a>(&'a self, definition: &'a Definition) -> EventView<'a> {
        match &self.event {
            Some(event) => EventView::of(definition, self.seq, self.at, event),
            None => EventView::unreadable(self.seq, self.at),
        }
    }
}

/// The events of a row, numbered. Of one that is damaged there is only that it is there.
fn events_of(row: &StoredTransition) -> Vec<PageItem> {
    let item = |seq, event| PageItem {
        seq,
        at: row.at,
        event,
    };
    match Transition::read(row.seq, row.at, &row.events) {
        Ok(transition) => (row.seq..)
            .zip(transition.events)
            .map(|(seq, event)| item(seq, Some(event)))
            .collect(),
        Err(_unreadable) => vec![item(row.seq, None)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read() {
        let cursor = |text: &str| text.parse::<EventCursor>().ok();
        assert_eq!(cursor("0"), Some(EventCursor(0)));
        assert_eq!(cursor("12"), Some(EventCursor(12)));
        for bad in ["", "-", "x", "-1", "1-2", "18446744073709551615"] {
            assert_eq!(cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_that_is_full_says_where_it_ends() {
        let mut items = vec![1, 2, 3];
        assert_eq!(cut(&mut items, 2), Some(&2));
        assert_eq!(items, [1, 2]);
        assert_eq!(cut(&mut items, 2), None);
    }
}
