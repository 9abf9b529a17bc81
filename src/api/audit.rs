//! The audit: who did what. A page of it, or every row that the filters let through as a stream.
//!
//! A stream is drawn by its connection, a page of rows at a time, so a slow client costs one page
//! and no more. One that cannot be brought to its end (the database goes away, a drain begins) is
//! broken off, so that nobody takes a part of it for the whole.

use std::collections::VecDeque;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data};
use futures_util::stream;

use super::access::Reader;
use super::error::ApiError;
use super::openapi::parameters::{AuditFilters, Limit};
use super::openapi::problems;
use super::query::{LIMIT_MAX, Parameters};
use super::sagas::cut;
use super::wire::Page;
use super::wire::audit::{AuditEntryView, Table};
use super::{App, accept, answer};
use crate::saga::SagaId;
use crate::store::{AuditAction, AuditCursor, AuditEntry, AuditFilter, StoreError};

/// The forms of an answer; the first is the usual one.
const FORMS: &[&str] = &["application/json", NDJSON, CSV];
/// One JSON object a line.
const NDJSON: &str = "application/x-ndjson";
/// A table for other programs (RFC 4180).
const CSV: &str = "text/csv";

/// The parameters of the call.
const PARAMETERS: &[&str] = &["saga", "actor", "action", "from", "to", "limit", "cursor"];

/// Who did what
///
/// Newest first: by `seq`, or by `at` where a time is asked for and no saga. In pages; or, with
/// `Accept: application/x-ndjson` or `text/csv`, every entry that the filters let through, as a
/// stream (then `limit` bounds the whole of it, where it is written). A stream that breaks off
/// is not whole.
///
/// An entry is there exactly when what it tells of is, and never changes. The entries of one saga
/// are in the order in which they happened. Of two replicas that write at the same time, an entry
/// with a lower `seq` may come to be seen later than one with a higher: who reads the newest again
/// and again should look some seconds back.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "audit",
    operation_id = "listAudit",
    params(AuditFilters, Limit),
    responses(
        (status = 200, description = "A page of entries, or a stream of all.", content(
            (Page<AuditEntryView> = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        problems::ListAudit,
    ),
)]
pub(super) async fn list(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let form = accept::best(&request, FORMS)?;
    let parameters = Parameters::of(request.query_string(), PARAMETERS)?;
    let filter = filter(&parameters)?;
    let cursor = parameters.cursor()?;
    let limit = parameters.limit()?;
    let lines = match form {
        NDJSON => Lines::Json,
        CSV => Lines::Csv(Table::default()),
        _ => {
            // One more than is wanted tells whether there is a next page.
            let mut entries = app.store.audit(&filter, cursor, limit + 1).await?;
            let next_cursor = cut(&mut entries, limit).map(|last| last.cursor().to_string());
            let items = entries.iter().map(AuditEntryView::of).collect();
            return Ok(answer::json(StatusCode::OK, &Page { items, next_cursor }));
        }
    };
    let most = parameters.has("limit").then_some(limit);
    let rows = Rows::begin(app, filter, cursor, most).await?;
    if request.method() == Method::HEAD {
        return Ok(HttpResponse::Ok().content_type(form).finish());
    }
    Ok(rows.answer(form, lines))
}

fn filter(parameters: &Parameters) -> Result<AuditFilter, ApiError> {
    let words = AuditAction::ALL.map(AuditAction::as_str).join(", ");
    let action = |word: &str| {
        let expected = format!("must be one of {words}");
        word.parse()
            .map_err(|_unknown| super::query::invalid("action", &expected))
    };
    Ok(AuditFilter {
        saga: parameters.parsed::<SagaId>("saga", "must be the id of a saga, a UUID")?,
        actor: parameters.text("actor")?,
        actions: parameters
            .all("action")
            .map(action)
            .collect::<Result<_, _>>()?,
        from: parameters.moment("from")?,
        to: parameters.moment("to")?,
    })
}

/// How entries are written into a stream.
enum Lines {
    Json,
    Csv(Table),
}

/// The rows that a filter lets through, read as they are taken.
struct Rows {
    app: Data<App>,
    filter: AuditFilter,
    cursor: Option<AuditCursor>,
    /// How many more may come, where there is a bound.
    most: Option<u64>,
    /// Read, and not given out yet.
    ready: VecDeque<AuditEntry>,
    /// Whether everything was read.
    all: bool,
}

/// Why a stream breaks off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the audit cannot be read")]
    Store(#[from] StoreError),
    #[error("this replica is draining")]
    Draining,
    #[error("an entry cannot be written")]
    Unwritable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Rows {
    /// Reads the first page, so that what is wrong from the beginning is an answer of its own.
    async fn begin(
        app: Data<App>,
        filter: AuditFilter,
        cursor: Option<AuditCursor>,
        most: Option<u64>,
    ) -> Result<Self, ApiError> {
        let mut rows = Self {
            app,
            filter,
            cursor,
            most,
            ready: VecDeque::new(),
            all: false,
        };
        rows.read().await?;
        Ok(rows)
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let limit = self.most.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
        let page = if limit == 0 {
            Vec::new()
        } else {
            let store = &self.app.store;
            store.audit(&self.filter, self.cursor, limit).await?
        };
        let count = page.len() as u64;
        self.all = count < limit || limit == 0;
        self.most = self.most.map(|most| most.saturating_sub(count));
        if let Some(last) = page.last() {
            self.cursor = Some(last.cursor());
        }
        self.ready = page.into();
        Ok(())
    }

    /// The next lines; none when all were given.
    async fn next(&mut self, lines: &mut Lines) -> Result<Option<Bytes>, Broken> {
        if self.ready.is_empty() && !self.all {
            if self.app.engine.is_draining() {
                return Err(Broken::Draining);
            }
            self.read().await?;
        }
        let entries = std::mem::take(&mut self.ready);
        let written = match lines {
            Lines::Json => json_lines(&entries)?,
            Lines::Csv(table) => table
                .rows(&entries)
                .map_err(|source| Broken::Unwritable(Box::new(source)))?,
        };
        Ok((!written.is_empty()).then(|| written.into()))
    }

    fn answer(self, form: &'static str, lines: Lines) -> HttpResponse {
        let rows = stream::unfold(Some((self, lines)), async |state| {
            let (mut rows, mut lines) = state?;
            match rows.next(&mut lines).await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some((rows, lines)))),
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a stream of the audit breaks off"
                    );
                    Some((Err(error), None))
                }
            }
        });
        HttpResponse::Ok()
            .content_type(form)
            .insert_header((CACHE_CONTROL, "no-store"))
            .streaming(Box::pin(rows))
    }
}

fn json_lines(entries: &VecDeque<AuditEntry>) -> Result<Vec<u8>, Broken> {
    let mut written = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut written, &AuditEntryView::of(entry))
            .map_err(|source| Broken::Unwritable(Box::new(source)))?;
        written.push(b'\n');
    }
    Ok(written)
}
