//! Participants in this process: functions that the embedding program brings, for tests and for
//! programs that are their own participant. The same outcomes and the same guards as over the wire.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::queue::command;
use super::{Attempt, Sent, transient};
use crate::message::{Command, ReplyOutcome};
use crate::saga::{Outcome, Timestamp};

/// A participant as a function: it takes a command and says what came of it. It has the duties that
/// every participant has (participants.md), the same command may come more than once.
pub type Handler = Arc<dyn Fn(Command) -> BoxFuture<'static, ReplyOutcome> + Send + Sync>;

/// The participants in this process, by name.
#[derive(Clone, Default)]
pub struct Locals {
    handlers: HashMap<String, Handler>,
}

impl Locals {
    /// Takes a participant in, under the name that the configuration gives `transport: local`.
    #[must_use]
    pub fn with<F, Answer>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Command) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = ReplyOutcome> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |command| handler(command).boxed());
        self.handlers.insert(name.to_owned(), handler);
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<Handler> {
        self.handlers.get(name).cloned()
    }
}

impl fmt::Debug for Locals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.handlers.keys()).finish()
    }
}

/// How a participant in this process is reached.
pub(super) struct LocalParticipant {
    name: String,
    handler: Handler,
}

impl fmt::Debug for LocalParticipant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("LocalParticipant")
            .field(&self.name)
            .finish()
    }
}

impl LocalParticipant {
    pub(super) fn new(name: &str, handler: Handler) -> Self {
        Self {
            name: name.to_owned(),
            handler,
        }
    }

    /// Calls the function, and whether it is well by what it says.
    pub(super) async fn call(
        &self,
        attempt: &Attempt,
        now: Timestamp,
        deadline: Timestamp,
    ) -> (Sent, Option<bool>) {
        let left_ms = now.ms_until(deadline);
        let command = command(attempt, "", now, deadline);
        // A function that panics is a participant that broke off: it may have done it.
        let called = AssertUnwindSafe((self.handler)(command)).catch_unwind();
        let outcome = match tokio::time::timeout(Duration::from_millis(left_ms), called).await {
            Ok(Ok(reply)) => reply.into_outcome(),
            Ok(Err(_panic)) => self.transient("bad_answer", "panicked"),
            Err(_elapsed) => self.transient("timeout", "did not answer in time"),
        };
        let well = !matches!(outcome, Outcome::Transient { .. });
        (Sent::Ended(outcome), Some(well))
    }

    fn transient(&self, code: &str, what: &str) -> Outcome {
        transient(code, format!("{} {what}", self.name))
    }
}
