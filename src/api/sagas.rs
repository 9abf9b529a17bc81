//! Looking at sagas: the list, one, its journal.

use std::str::FromStr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::App;
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
pub(super) async fn list(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(request.query_string())?;
    // One more than is wanted tells whether there is a next page.
    let mut rows = app
        .store
        .list(&query.filter, query.cursor, query.limit + 1)
        .await?;
    let next_cursor = cut(&mut rows, query.limit).map(|row| row.id.to_string());
    let items = rows.iter().map(Summary::of_row).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next_cursor }))
}

/// Cuts a page to its size; the last item on it when more follow.
pub(super) fn cut<T>(items: &mut Vec<T>, limit: u32) -> Option<&T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    items.last().filter(|_| more)
}

/// `GET /sagas/{id}`
pub(super) async fn get(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
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
pub(super) async fn events(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    let parameters = Parameters::of(request.query_string(), &["limit", "cursor"])?;
    let limit = parameters.limit()?;
    let cursor = parameters
        .cursor()?
        .unwrap_or(EventCursor { row: 1, after: 0 });
    let row = summary(&app, id).await?;
    let published = app
        .engine
        .catalogue()
        .find(&row.definition, Some(row.version));
    let definition = published
        .map(|published| published.definition)
        .ok_or_else(|| ApiError::new(ErrorCode::JournalUnreadable))?;
    let rows = app.store.transitions(id, cursor.row, limit + 1).await?;
    let page = EventPage::of(rows, &definition, cursor, limit);
    Ok(answer::json(StatusCode::OK, &page.shown()))
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

/// Where a page of events begins. A row of the journal holds several events, so a page may end
/// within one: `12` goes on after event 12, which ended a row; `9-12` within the row of event 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EventCursor {
    /// The number of the first event of the row to begin with.
    row: u64,
    /// The number of the last event that was seen.
    after: u64,
}

/// The text is not a cursor.
#[derive(Debug)]
struct NoCursor;

impl FromStr for EventCursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        // Numbers in the database are signed.
        let number = |text: &str| match text.parse::<i64>().map(u64::try_from) {
            Ok(Ok(number)) if number < u64::MAX / 4 => Ok(number),
            Ok(_) | Err(_) => Err(NoCursor),
        };
        match text.split_once('-') {
            Some((row, after)) => Ok(Self {
                row: number(row)?,
                after: number(after)?,
            }),
            None => number(text).map(|after| Self {
                row: after + 1,
                after,
            }),
        }
    }
}

/// One event of a page, or the row that could not be read.
struct PageItem {
    row: u64,
    seq: u64,
    at: Timestamp,
    event: Option<Event>,
}

/// A page of a saga's events.
struct EventPage {
    definition: Arc<Definition>,
    items: Vec<PageItem>,
    next_cursor: Option<String>,
}

impl EventPage {
    /// The page of `limit` events after the cursor; `rows` holds one row more than that.
    fn of(
        rows: Vec<StoredTransition>,
        definition: &Arc<Definition>,
        cursor: EventCursor,
        limit: u32,
    ) -> Self {
        let after_cursor = |item: &PageItem| item.seq > cursor.after;
        let mut items: Vec<_> = rows
            .iter()
            .flat_map(events_of)
            .filter(after_cursor)
            .collect();
        let next_row = usize::try_from(limit)
            .ok()
            .and_then(|limit| items.get(limit));
        let next_row = next_row.map(|next| next.row);
        let last = cut(&mut items, limit);
        let next_cursor = last.zip(next_row).map(|(last, next_row)| {
            if next_row == last.row {
                format!("{}-{}", last.row, last.seq)
            } else {
                last.seq.to_string()
            }
        });
        Self {
            definition: Arc::clone(definition),
            items,
            next_cursor,
        }
    }

    fn shown(&self) -> Page<EventView<'_>> {
        let view = |item| event_view(&self.definition, item);
        Page {
            items: self.items.iter().map(view).collect(),
            next_cursor: self.next_cursor.clone(),
        }
    }
}

fn event_view<'a>(definition: &'a Definition, item: &'a PageItem) -> EventView<'a> {
    match &item.event {
        Some(event) => EventView::of(definition, item.seq, item.at, event),
        None => EventView::unreadable(item.seq, item.at),
    }
}

/// The events of a row, numbered. Of one that is damaged there is only that it is there.
fn events_of(row: &StoredTransition) -> Vec<PageItem> {
    match Transition::read(row.seq, row.at, &row.events) {
        Ok(transition) => (row.seq..)
            .zip(transition.events)
            .map(|(seq, event)| PageItem {
                row: row.seq,
                seq,
                at: row.at,
                event: Some(event),
            })
            .collect(),
        Err(_unreadable) => vec![PageItem {
            row: row.seq,
            seq: row.seq,
            at: row.at,
            event: None,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Option<EventCursor> {
        text.parse().ok()
    }

    #[test]
    fn a_cursor_is_read() {
        assert_eq!(cursor("0"), Some(EventCursor { row: 1, after: 0 }));
        assert_eq!(cursor("12"), Some(EventCursor { row: 13, after: 12 }));
        assert_eq!(cursor("9-12"), Some(EventCursor { row: 9, after: 12 }));
        for bad in [
            "",
            "-",
            "x",
            "-1",
            "1-",
            "1-2-3",
            "18446744073709551615",
            "9223372036854775807",
        ] {
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
