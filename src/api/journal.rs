//! The journal of a saga: page by page, or live.

use std::str::FromStr;

use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::access::Reader;
use super::error::{ApiError, ErrorCode};
use super::live::{EVENT_STREAM, Live};
use super::openapi::parameters::{
    EventCursor as EventCursorParameter, LastEventId, Limit, SagaPath,
};
use super::openapi::problems;
use super::query::Parameters;
use super::sagas::{cut, definition_of, saga_id, summary};
use super::wire::Page;
use super::wire::event::EventView;
use super::{App, accept, answer};
use crate::definition::Definition;
use crate::saga::replay::Transition;
use crate::saga::{Event, Timestamp};
use crate::store::StoredTransition;

/// What the journal can be answered as. Whoever wants neither gets a page.
const FORMS: &[&str] = &["application/json", EVENT_STREAM];

/// The journal of a saga
///
/// Oldest first, in pages; or, with `Accept: text/event-stream`, live until the saga has finished
/// or failed: each event under its number and its type, a comment every 15 seconds, and at the
/// end one event `end` with the saga's summary. `Last-Event-ID` goes on behind the event of that
/// number.
#[utoipa::path(
    get,
    path = "/sagas/{id}/events",
    tag = "sagas",
    operation_id = "listEvents",
    params(SagaPath, Limit, EventCursorParameter, LastEventId),
    responses(
        (status = 200, description = "A page of events, or a stream of them.", content(
            (Page<EventView> = "application/json"),
            (String = "text/event-stream"),
        )),
        problems::ListEvents,
    ),
)]
pub(super) async fn events(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    let parameters = Parameters::of(request.query_string(), &["limit", "cursor"])?;
    let limit = parameters.limit()?;
    let EventCursor(mut after) = parameters.cursor()?.unwrap_or_default();
    if accept::best(&request, FORMS).is_ok_and(|form| form == EVENT_STREAM) {
        if let Some(EventCursor(seen)) = last_event_id(&request)? {
            after = seen;
        }
        let live = Live::begin(&app, id, after).await?;
        return Ok(if request.method() == Method::HEAD {
            HttpResponse::Ok().content_type(EVENT_STREAM).finish()
        } else {
            live.answer()
        });
    }
    let row = summary(&app, id).await?;
    let definition = definition_of(&app, &row).await?;
    let rows = app.store.transitions(id, after + 1, limit + 1).await?;
    let mut items: Vec<_> = rows.iter().flat_map(events_of).collect();
    items.retain(|item| item.seq > after);
    let next_cursor = cut(&mut items, limit).map(|last| last.seq.to_string());
    let items = items.iter().map(|item| item.view(&definition)).collect();
    Ok(answer::json(StatusCode::OK, &Page { items, next_cursor }))
}

/// The number of the last event that a client of a stream has seen.
fn last_event_id(request: &HttpRequest) -> Result<Option<EventCursor>, ApiError> {
    let Some(value) = request.headers().get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?");
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_wrong: NoCursor| {
        let detail = "Last-Event-ID is not the number of an event";
        ApiError::with(ErrorCode::BadRequest, detail)
    })
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
pub(super) struct PageItem {
    pub(super) seq: u64,
    at: Timestamp,
    pub(super) event: Option<Event>,
}

impl PageItem {
    pub(super) fn view<'a>(&'a self, definition: &'a Definition) -> EventView<'a> {
        match &self.event {
            Some(event) => EventView::of(definition, self.seq, self.at, event),
            None => EventView::unreadable(self.seq, self.at),
        }
    }
}

/// The events of a row, numbered. Of one that is damaged there is only that it is there.
pub(super) fn events_of(row: &StoredTransition) -> Vec<PageItem> {
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
}
