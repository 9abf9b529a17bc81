//! What participants tell after their answer: replies that come as messages or as callbacks.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::advance::Whence;
use super::inbox::Letter;
use super::inputs::Unsubmitted;
use super::start::DATABASE_PATIENCE;
use super::tenure::Tenure;
use super::{CommandError, Engine, clock};
use crate::definition::StepIndex;
use crate::message::Reply;
use crate::saga::{Event, Input, Rejection, Replied, Saga, SagaId};
use crate::store::AppendError;

/// What became of a reply. Whatever it is, it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It moved its saga, or waits in the inbox for the saga's owner.
    Accepted,
    /// It was here before.
    Duplicate,
    /// Its step had ended; that it came is recorded.
    Late,
    /// There is no such saga, or nothing is asked of a participant in that step and phase.
    Stray,
}

impl Taken {
    /// By what an input made happen; `reply` is the id and the step of one that is a reply.
    pub(super) fn of(events: &[Event], before: &Saga, reply: Option<(&str, StepIndex)>) -> Self {
        let late = |event: &Event| matches!(event, Event::LateReply { reply: Some(_), .. });
        if !events.is_empty() {
            return if events.iter().any(late) {
                Self::Late
            } else {
                Self::Accepted
            };
        }
        // One that nothing is known of was one too many to be recorded.
        let record = |(id, step): (&str, StepIndex)| {
            let record = before.steps.get(step.offset())?;
            Some(record.seen(id).is_none_or(|seen| seen.late))
        };
        match reply.and_then(record) {
            Some(true) => Self::Late,
            Some(false) | None => Self::Duplicate,
        }
    }
}

impl Engine {
    /// Takes a participant's reply in, or leaves it for the saga's owner; answers when that is
    /// durable.
    ///
    /// # Errors
    /// `Draining`, `NotReady`, `DatabaseUnavailable`, `JournalUnreadable`, `Internal`: it may come
    /// again.
    pub async fn reply(&self, reply: Reply) -> Result<Taken, CommandError> {
        if self.is_draining() {
            return Err(CommandError::Draining);
        }
        let patient = tokio::time::timeout(DATABASE_PATIENCE, async {
            if let Some(tenure) = self.parts.tenure() {
                if !self.parts.database_answers(&tenure) {
                    return Err(CommandError::DatabaseUnavailable);
                }
                match tenure.reply_apart(reply.clone()).await {
                    Err(CommandError::NotReady) => {}
                    told => return told,
                }
            }
            self.parts.leave_reply(&reply).await
        });
        let told = patient.await;
        told.unwrap_or(Err(CommandError::DatabaseUnavailable))
    }
}

impl Tenure {
    /// The same on a task of its own: whoever brings it may go away at any moment, and what follows
    /// from it has to be sent all the same.
    async fn reply_apart(self: &Arc<Self>, reply: Reply) -> Result<Taken, CommandError> {
        let (tell, told) = oneshot::channel();
        let tenure = Arc::clone(self);
        self.spawn_for(reply.saga, async move {
            // Whoever asked may have gone.
            let _gone = tell.send(tenure.reply(&reply, Whence::default()).await);
        });
        told.await.unwrap_or(Err(CommandError::NotReady))
    }

    /// Takes a reply in for a saga that this replica owns.
    pub(super) async fn reply(
        self: &Arc<Self>,
        reply: &Reply,
        whence: Whence,
    ) -> Result<Taken, CommandError> {
        let entry = match self.find_any(reply.saga).await {
            Ok(entry) => entry,
            Err(CommandError::NotFound) => return Ok(Taken::Stray),
            Err(error) => return Err(error),
        };
        let Some(step) = entry.definition.step_named(&reply.step) else {
            self.leave_alone(&entry);
            return Ok(Taken::Stray);
        };
        let input = Input::Reply(Replied {
            id: reply.id.clone(),
            step,
            phase: reply.phase,
            outcome: reply.outcome.clone().into_outcome(),
            draw: clock::draw(),
        });
        self.take_reply(reply.saga, input, whence).await
    }

    /// Gives an input that is about an attempt to its saga, finished or not.
    pub(super) async fn take_reply(
        self: &Arc<Self>,
        saga: SagaId,
        input: Input,
        whence: Whence,
    ) -> Result<Taken, CommandError> {
        match self.submit_to_any(saga, input, whence).await {
            Ok((entry, submitted)) => {
                let taken = submitted.taken;
                match self.durable(&entry, submitted).await {
                    Ok((_, _, calls)) => {
                        self.send(&entry, calls);
                        Ok(taken)
                    }
                    Err(AppendError::Rejected(_)) => Err(CommandError::Internal),
                    Err(
                        AppendError::Withdrawn
                        | AppendError::Fenced
                        | AppendError::Clash
                        | AppendError::Closed,
                    ) => Err(CommandError::NotReady),
                }
            }
            Err(Unsubmitted::Error(CommandError::Rejected(Rejection::NothingAsked))) => {
                Ok(Taken::Stray)
            }
            Err(Unsubmitted::Error(error)) => Err(error),
            Err(Unsubmitted::Nothing(_)) => Ok(Taken::Duplicate),
        }
    }
}

impl super::Parts {
    /// Leaves a reply for its saga's owner.
    pub(super) async fn leave_reply(&self, reply: &Reply) -> Result<Taken, CommandError> {
        let read = match self.read(reply.saga).await {
            Ok(read) => read,
            Err(CommandError::NotFound) => return Ok(Taken::Stray),
            Err(error) => return Err(error),
        };
        if read.snapshot.definition.step_named(&reply.step).is_none() {
            return Ok(Taken::Stray);
        }
        let letter = Letter::of_reply(reply);
        self.leave((reply.saga, read.shard), None, &letter).await?;
        Ok(Taken::Accepted)
    }
}
