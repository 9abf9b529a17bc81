//! A saga's events as they happen: a stream of server-sent events (the HTML Living Standard,
//! section 9.2), read from the journal, so that each is seen once, in order, and only when it is
//! durable, whoever owns the saga.
//!
//! A stream is drawn by its connection: nothing is read for a client that does not take what is
//! there already, so a slow one costs a page of events and no more.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use futures_util::stream;
use serde::Serialize;

use super::App;
use super::error::{ApiError, ErrorCode};
use super::journal::{PageItem, events_of};
use super::sagas::{definition_of, summary};
use super::wire::saga::Summary;
use crate::definition::Definition;
use crate::engine::watching::{Watch, Woken};
use crate::saga::{Event, SagaId};
use crate::store::{StoreError, StoredTransition, SummaryRow};

/// The media type of a stream.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// How long a stream is silent at most: a comment then shows that it is there.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// How often the journal is looked at when another replica advances the saga.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often when this one does, and tells of what is new: only in case the saga moves away.
const LOOK_EVERY_HERE: Duration = Duration::from_secs(5);
/// How many transitions are read, and held for a client, at a time.
const PAGE: u64 = 4;

/// A stream of one saga's events.
pub(super) struct Live {
    app: Data<App>,
    id: SagaId,
    shard: u16,
    definition: Arc<Definition>,
    watch: Watch,
    /// The number of the last event that was given out.
    after: u64,
    /// Read, and not given out yet.
    ready: VecDeque<StoredTransition>,
    /// Whether the saga may have finished or failed since its summary was last looked at.
    may_have_settled: bool,
    /// When something was last given out.
    spoke: Instant,
    over: bool,
}

impl Live {
    /// Begins to follow a saga, behind the event of this number.
    pub(super) async fn begin(app: &Data<App>, id: SagaId, after: u64) -> Result<Self, ApiError> {
        let row = summary(app, id).await?;
        let definition = definition_of(app, &row).await?;
        if app.engine.is_draining() {
            return Err(ApiError::new(ErrorCode::Draining));
        }
        let watch = app.engine.watch(id);
        let watch = watch.ok_or_else(|| ApiError::new(ErrorCode::TooManyStreams))?;
        Ok(Self {
            app: app.clone(),
            id,
            shard: row.shard,
            definition,
            watch,
            after,
            ready: VecDeque::new(),
            may_have_settled: true,
            spoke: Instant::now(),
            over: false,
        })
    }

    /// The stream as an answer. It ends when the saga has finished or failed, or a drain begins.
    pub(super) fn answer(self) -> HttpResponse {
        let frames = stream::unfold(self, async |mut live| {
            let frame = live.next().await?;
            live.spoke = Instant::now();
            Some((Ok::<_, Infallible>(frame), live))
        });
        HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, EVENT_STREAM))
            .insert_header((CACHE_CONTROL, "no-store"))
            // A proxy that gathers answers would hold events back.
            .insert_header(("x-accel-buffering", "no"))
            .streaming(Box::pin(frames))
    }

    /// What comes next; nothing when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                match self.frames(&row) {
                    frames if frames.is_empty() => continue,
                    frames => return Some(frames.into()),
                }
            }
            if self.over {
                return None;
            }
            match self.look().await {
                Ok(Looked::Found) => continue,
                Ok(Looked::End(row)) => {
                    self.over = true;
                    return Some(frame(None, "end", &Summary::of_row(&row)).into());
                }
                Ok(Looked::Nothing) => {}
                // It is looked for again; the client sees no more of it than silence.
                Err(error) => tracing::debug!(saga_id = %self.id, %error, "a stream waits"),
            }
            let until_comment = COMMENT_EVERY.saturating_sub(self.spoke.elapsed());
            if until_comment.is_zero() {
                // What settles a saga is an event, but for a journal that cannot be read.
                self.may_have_settled = true;
                return Some(Bytes::from_static(b":\n\n"));
            }
            let pause = if self.watch.is_told_of(self.shard) {
                LOOK_EVERY_HERE
            } else {
                LOOK_EVERY
            };
            match self.watch.wait(pause.min(until_comment)).await {
                Woken::News | Woken::Quiet => {}
                Woken::Draining => return None,
            }
        }
    }

    /// Looks for what is new in the journal.
    async fn look(&mut self) -> Result<Looked, StoreError> {
        // Before the events: what it says then holds for all that was there when they are read.
        let settled = if self.may_have_settled {
            let row = self.app.store.summary(self.id).await?;
            row.filter(|row| row.status.is_settled())
        } else {
            None
        };
        let rows = self.app.store.transitions(self.id, self.after + 1, PAGE);
        self.ready = rows.await?.into();
        if !self.ready.is_empty() {
            return Ok(Looked::Found);
        }
        self.may_have_settled = false;
        Ok(settled.map_or(Looked::Nothing, |row| Looked::End(Box::new(row))))
    }

    /// The events of a row that were not given out yet.
    fn frames(&mut self, row: &StoredTransition) -> String {
        let mut frames = String::new();
        for item in events_of(row) {
            if item.seq <= self.after {
                continue;
            }
            let view = item.view(&self.definition);
            frames.push_str(&frame(Some(item.seq), view.fact.r#type, &view));
            self.may_have_settled |= may_settle(&item);
        }
        // Of a row that cannot be read there is one event only, whatever it holds.
        self.after = self.after.max(row.seq + u64::from(row.count) - 1);
        frames
    }
}

/// What a look at the journal found.
enum Looked {
    /// Something to give out.
    Found,
    /// Nothing.
    Nothing,
    /// The end: everything was given out, and the saga has finished or failed.
    End(Box<SummaryRow>),
}

/// Whether the saga may be settled by the event.
fn may_settle(item: &PageItem) -> bool {
    let settles = |event: &Event| {
        matches!(
            event,
            Event::SagaCompleted { .. } | Event::SagaCompensated | Event::SagaFailed { .. }
        )
    };
    item.event.as_ref().is_none_or(settles)
}

/// One message of a stream. JSON has no line breaks of its own, so it is one line of data.
fn frame(seq: Option<u64>, event: &str, data: &impl Serialize) -> String {
    let id = seq.map(|seq| format!("id: {seq}\n")).unwrap_or_default();
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_has_its_number_its_type_and_one_line_of_data() {
        let data = json!({ "text": "two\nlines\r" });
        assert_eq!(
            frame(Some(7), "step_succeeded", &data),
            "id: 7\nevent: step_succeeded\ndata: {\"text\":\"two\\nlines\\r\"}\n\n"
        );
        assert_eq!(frame(None, "end", &json!({})), "event: end\ndata: {}\n\n");
    }
}
