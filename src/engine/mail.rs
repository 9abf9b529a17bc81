//! What brokers bring: replies, and what nobody could take. Each message is the broker's until what
//! follows from it is durable; one that cannot be taken now comes again.

mod letters;

use std::sync::Arc;
use std::time::Duration;

use super::CommandError;
use super::advance::Whence;
use super::replies::Taken;
use super::tenure::Tenure;
use crate::dispatch::broker::{Delivery, Origin};
use crate::message::Reply;
use crate::telemetry::metrics::Receiving;

/// Why a reply that answers nothing was kept.
const STRAY: &str = "malformed: there is no such saga, or nothing is asked in such a step of it";
/// Why a reply for a saga that was set aside was kept.
const UNREADABLE: &str =
    "journal_unreadable: its saga is set aside, because its journal cannot be read";
/// How soon what could not be taken is tried again, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

impl Tenure {
    /// Takes what brokers bring, until the tenure ends or a drain begins. What is in hand then is
    /// taken; what comes after is left to the next owner.
    pub(super) async fn take_mail(self: Arc<Self>) {
        let dispatcher = &self.parts.dispatcher;
        if !dispatcher.has_brokers() {
            return;
        }
        let stop = self.ended.child_token();
        let mut brought = dispatcher.consume(&self.parts.stopping.tasks, &stop);
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.stopping().draining.cancelled() => break,
                () = self.ended.cancelled() => break,
                delivery = brought.recv() => delivery,
            };
            let Some(delivery) = delivery else { break };
            let tenure = Arc::clone(&self);
            let task = async move { tenure.take_delivery(delivery).await };
            self.stopping()
                .calls
                .spawn_on(task, &self.stopping().runtime);
        }
        stop.cancel();
    }

    async fn take_delivery(self: Arc<Self>, delivery: Delivery) {
        let mut wait = BACK_OFF.0;
        loop {
            match self.try_to_take(&delivery).await {
                Ok(()) => return delivery.receipt.done().await,
                Err(error) => tracing::debug!(%error, "a message cannot be taken now"),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
                () = self.stopping().draining.cancelled() => break,
                () = self.ended.cancelled() => break,
            }
        }
        delivery.receipt.again().await;
    }

    /// Takes a message. When it answers `Ok` everything that follows is durable.
    async fn try_to_take(self: &Arc<Self>, delivery: &Delivery) -> Result<(), CommandError> {
        match &delivery.origin {
            Origin::Replies => {
                let result = self.take_message(delivery).await?;
                let metrics = &self.parts.metrics;
                metrics.message_received(delivery.broker, result);
                Ok(())
            }
            Origin::Dead { queue, .. } => {
                if self.parts.dispatcher.replies(delivery.broker) == Some(queue) {
                    self.keep_reply(delivery, None).await
                } else {
                    self.take_dead_command(delivery, queue).await
                }
            }
        }
    }

    /// Takes what came to the queue of the replies. What is no reply, or one for nobody, is kept as a
    /// dead letter: it is not dropped, and holds nothing up.
    async fn take_message(
        self: &Arc<Self>,
        delivery: &Delivery,
    ) -> Result<Receiving, CommandError> {
        let reply = match Reply::read(&delivery.message.body) {
            Ok(reply) => reply,
            Err(malformed) => {
                self.keep_reply(delivery, Some(&format!("malformed: {malformed}")))
                    .await?;
                return Ok(Receiving::Malformed);
            }
        };
        let taken = match self.reply(&reply, Whence::default()).await {
            // Its saga is another replica's.
            Err(CommandError::NotReady) if !self.ended.is_cancelled() => {
                self.parts.leave_reply(&reply).await?
            }
            // Nothing will ever be done for that saga, and the reply is not to wait for it.
            Err(CommandError::JournalUnreadable) => {
                self.keep_reply(delivery, Some(UNREADABLE)).await?;
                return Ok(Receiving::Malformed);
            }
            told => told?,
        };
        Ok(match taken {
            Taken::Accepted => Receiving::Accepted,
            Taken::Duplicate => Receiving::Duplicate,
            Taken::Late => Receiving::Late,
            Taken::Stray => {
                self.keep_reply(delivery, Some(STRAY)).await?;
                Receiving::Malformed
            }
        })
    }
}
