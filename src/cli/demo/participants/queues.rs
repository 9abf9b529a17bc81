//! The same participants behind queues of RabbitMQ, where their work comes as commands.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answers::{self, Answer};
use super::ledger::{Call, Ledger};
use super::{SILENCE, SILENT};
use crate::participant::rabbitmq::{Settings, Unanswered, serve};
use crate::participant::{Command, ReplyOutcome, StepError};

/// The demo ended while a participant kept silent.
#[derive(Debug, thiserror::Error)]
#[error("the demo ended")]
struct Ended;

/// Participants that take commands.
#[derive(Debug, Default)]
pub(in crate::cli::demo) struct Queues {
    ledger: Arc<Ledger>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Queues {
    /// Lets the participant called `name` take what comes to its queue.
    pub(in crate::cli::demo) fn serve(&self, name: String, settings: Settings) {
        let (ledger, stop) = (Arc::clone(&self.ledger), self.stop.clone());
        let handler = {
            let stop = stop.clone();
            move |command| {
                let (ledger, name, stop) = (Arc::clone(&ledger), name.clone(), stop.clone());
                async move { answer(&ledger, &name, command, &stop).await }
            }
        };
        self.tasks.spawn(async move {
            if let Err(error) = serve(settings, handler, stop).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "a participant of the demo cannot serve");
            }
        });
    }

    /// Ends them all, those too that keep silent.
    pub(in crate::cli::demo) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What a command is answered, as [`super::take`] answers a call.
async fn answer(
    ledger: &Ledger,
    participant: &str,
    command: Command,
    stop: &CancellationToken,
) -> Result<ReplyOutcome, Unanswered> {
    let body: Value = match command.data() {
        Ok(body) => body,
        Err(refused) => return Ok(refused),
    };
    let call = Call {
        key: command.idempotency_key(),
        effect: (
            command.saga.to_string(),
            participant.to_owned(),
            command.step,
        ),
        phase: command.phase,
    };
    match ledger.take(&call, || answers::decide(participant, &call, &body)) {
        Answer::Done(output) => Ok(ReplyOutcome::Succeeded(output)),
        Answer::Refused { code, detail } => Ok(ReplyOutcome::Refused(StepError::new(code, detail))),
        Answer::DoneInSilence => tokio::select! {
            () = stop.cancelled() => Err(Ended.into()),
            () = tokio::time::sleep(SILENCE) => {
                let (code, message) = SILENT;
                Ok(ReplyOutcome::Retry { error: StepError::new(code, message), after_ms: None })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::participant::{Phase, ReplyTo, Timestamp};

    fn command(phase: Phase, attempt: u32, data: &Value) -> Command {
        Command {
            name: "charge".to_owned(),
            saga: "0198c7a0-0000-7000-8000-000000000001".parse().unwrap(),
            definition: "order_fulfilment/1".to_owned(),
            step: "charge_payment".to_owned(),
            phase,
            attempt,
            action_outcome: None,
            deadline: Timestamp(1),
            fence: 1,
            traceparent: None,
            tracestate: None,
            reply_to: ReplyTo::Queue("amends.replies".to_owned()),
            data: data.to_string(),
        }
    }

    fn counts(ledger: &Ledger) -> Vec<(u32, u32)> {
        let effects = ledger.effects().into_iter();
        effects.map(|effect| (effect.done, effect.undone)).collect()
    }

    #[tokio::test]
    async fn commands_are_answered_as_calls_are() {
        let (ledger, stop) = (Ledger::default(), CancellationToken::new());
        let (good, declined) = (json!({ "amount": 4 }), json!({ "card": "declined" }));
        let mut outputs = Vec::new();
        for attempt in [1, 2] {
            let action = command(Phase::Action, attempt, &good);
            let done = answer(&ledger, "payment", action, &stop).await.unwrap();
            let ReplyOutcome::Succeeded(output) = done else {
                panic!("{done:?}");
            };
            outputs.push(output);
        }
        assert_eq!(outputs[0], outputs[1]);
        assert_eq!(outputs[0]["amount"], 4);
        let undo = command(Phase::Compensation, 1, &json!(null));
        let undone = answer(&ledger, "payment", undo, &stop).await.unwrap();
        assert!(matches!(undone, ReplyOutcome::Succeeded(_)));
        assert_eq!(counts(&ledger), [(1, 1)]);

        let ledger = Ledger::default();
        let action = command(Phase::Action, 1, &declined);
        let refused = answer(&ledger, "payment", action, &stop).await.unwrap();
        let ReplyOutcome::Refused(error) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(error.code, "card_declined");
        assert_eq!(counts(&ledger), [(0, 0)]);
    }

    #[tokio::test]
    async fn a_silent_one_did_its_work_and_ends_with_the_demo() {
        let (ledger, stop) = (Ledger::default(), CancellationToken::new());
        let action = command(Phase::Action, 1, &json!({ "card": "silent" }));
        let silent = answer(&ledger, "payment", action, &stop);
        tokio::pin!(silent);
        let a_while = Duration::from_millis(200);
        assert!(tokio::time::timeout(a_while, &mut silent).await.is_err());
        assert_eq!(counts(&ledger), [(1, 0)]);
        stop.cancel();
        assert!(matches!(silent.await, Err(Unanswered::Again(_))));
    }
}
