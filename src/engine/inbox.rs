//! What has come for a saga that another replica owns: stored by whoever it reached, and taken by
//! the owner, who looks every so often (storage.md, "Tables").

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::advance::Whence;
use super::inputs::Unsubmitted;
use super::tenure::Tenure;
use super::{CommandError, Parts, clock};
use crate::message::Reply;
use crate::saga::{Command, DeadLettered, Fate, InFlight, Input, SagaId, StepError};
use crate::store::{InboxRow, StoreError};

/// How often an owner looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many inputs are taken at a time.
const AT_ONCE_MAX: u64 = 500;

/// An input as the inbox keeps it. A variant or a member is never renamed: the replica that takes it
/// may be of the release before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Letter {
    /// A signal.
    Signal {
        name: String,
        #[serde(default)]
        payload: Value,
        #[serde(default)]
        key: Option<String>,
        actor: String,
    },
    /// A person's command.
    Command { command: Command, actor: String },
    /// A participant's reply, as the message that it is or could have been.
    Reply { message: String },
    /// News of a command that nobody could take.
    DeadLettered {
        call: InFlight,
        code: String,
        message: String,
        fate: Fate,
    },
}

impl Letter {
    /// A signal or a command that came here; none for what does not come from outside.
    pub(super) fn of_input(input: &Input) -> Option<Self> {
        match input {
            Input::Signal {
                name,
                payload,
                key,
                actor,
            } => Some(Self::Signal {
                name: name.clone(),
                payload: payload.clone(),
                key: key.clone(),
                actor: actor.clone(),
            }),
            Input::Command { command, actor } => Some(Self::Command {
                command: command.clone(),
                actor: actor.clone(),
            }),
            Input::DeadLettered(letter) => Some(Self::DeadLettered {
                call: letter.call,
                code: letter.error.code.clone(),
                message: letter.error.message.clone(),
                fate: letter.fate,
            }),
            Input::Attempt(_)
            | Input::Held(_)
            | Input::LetThrough { .. }
            | Input::Accepted { .. }
            | Input::Reply(_)
            | Input::Wake { .. } => None,
        }
    }

    pub(super) fn of_reply(reply: &Reply) -> Self {
        let message = String::from_utf8_lossy(&reply.to_json()).into_owned();
        Self::Reply { message }
    }
}

impl Parts {
    /// Leaves something for the owner of a saga.
    pub(super) async fn leave(
        &self,
        saga: (SagaId, u16),
        remote: Option<IpAddr>,
        letter: &Letter,
    ) -> Result<(), CommandError> {
        // Plain data with text for keys: writing it cannot fail.
        let text = serde_json::to_string(letter).unwrap_or_default();
        let put = self.store.put_in_inbox(saga, clock::now(), remote, &text);
        put.await.map_err(|error| {
            if error.is_unavailable() {
                CommandError::DatabaseUnavailable
            } else {
                tracing::error!(saga_id = %saga.0, %error, "the database refuses what came for another owner");
                CommandError::Internal
            }
        })
    }
}

impl Parts {
    /// Leaves something for the owner of a saga whose shard has to be looked up.
    pub(super) async fn leave_for(
        &self,
        saga: SagaId,
        letter: &Letter,
    ) -> Result<(), CommandError> {
        match self.store.shard_of(saga).await {
            Ok(Some(shard)) => self.leave((saga, shard), None, letter).await,
            Ok(None) => Err(CommandError::NotFound),
            Err(error) => {
                tracing::debug!(%error, "the shard of a saga cannot be looked up now");
                Err(CommandError::DatabaseUnavailable)
            }
        }
    }
}

impl Tenure {
    /// Takes what was left for this replica's sagas, until the tenure ends or a drain begins.
    pub(super) async fn empty_inbox(self: Arc<Self>) {
        loop {
            match self.take_inbox().await {
                // There may be more.
                Ok(taken) if taken > 0 => continue,
                Ok(_nothing) => {}
                Err(error) => tracing::debug!(%error, "the inbox cannot be looked at now"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.ended.cancelled() => return,
                () = self.stopping().draining.cancelled() => return,
            }
        }
    }

    /// Takes a page of the inbox; answers how many were taken. Those of one saga go one after the
    /// other, as they came.
    async fn take_inbox(self: &Arc<Self>) -> Result<usize, StoreError> {
        let rows = self.parts.store.inbox(&self.owned(), AT_ONCE_MAX).await?;
        let mut by_saga: BTreeMap<SagaId, Vec<InboxRow>> = BTreeMap::new();
        for row in rows {
            by_saga.entry(row.saga).or_default().push(row);
        }
        let taken = by_saga.into_values().map(|rows| async {
            let mut taken = 0;
            for row in rows {
                if !self.take_row(row).await? {
                    break;
                }
                taken += 1;
            }
            Ok(taken)
        });
        let taken: Vec<Result<usize, StoreError>> = join_all(taken).await;
        taken.into_iter().sum()
    }

    /// Takes one row; `false` when it has to wait.
    async fn take_row(self: &Arc<Self>, row: InboxRow) -> Result<bool, StoreError> {
        let whence = Whence {
            remote: row.remote,
            inbox: Some(row.id),
        };
        let told = match serde_json::from_str::<Letter>(&row.input) {
            Ok(letter) => self.take_letter(row.saga, letter, whence).await,
            Err(error) => {
                // A newer release wrote it; it is not ours to throw away.
                tracing::error!(saga_id = %row.saga, %error, "the inbox holds what this version cannot read");
                return Ok(false);
            }
        };
        match told {
            // What nothing came of is still there.
            Ok(Came::Something) => Ok(true),
            Ok(Came::Nothing) | Err(CommandError::NotFound | CommandError::Rejected(_)) => {
                self.parts.store.drop_from_inbox(row.id).await?;
                Ok(true)
            }
            Err(
                CommandError::StepNotFound(_)
                | CommandError::JournalUnreadable
                | CommandError::NotReady
                | CommandError::Draining
                | CommandError::DatabaseUnavailable
                | CommandError::Internal,
            ) => Ok(false),
        }
    }

    async fn take_letter(
        self: &Arc<Self>,
        saga: SagaId,
        letter: Letter,
        whence: Whence,
    ) -> Result<Came, CommandError> {
        let input = match letter {
            Letter::Signal {
                name,
                payload,
                key,
                actor,
            } => Input::Signal {
                name,
                payload,
                key,
                actor,
            },
            Letter::Command { command, actor } => Input::Command { command, actor },
            Letter::DeadLettered {
                call,
                code,
                message,
                fate,
            } => Input::DeadLettered(DeadLettered {
                call,
                error: StepError::new(code, message),
                fate,
                draw: clock::draw(),
            }),
            Letter::Reply { message } => {
                let Ok(reply) = Reply::read(message.as_bytes()) else {
                    return Ok(Came::Nothing);
                };
                let taken = self.reply(&reply, whence).await?;
                return Ok(Came::of(taken));
            }
        };
        match self.submit_to_any(saga, input, whence).await {
            Ok((entry, submitted)) => {
                let came = Came::of(submitted.taken);
                let calls = self.durable(&entry, submitted).await;
                let (_, _, calls) = calls.map_err(|_not_written| CommandError::NotReady)?;
                self.send(&entry, calls);
                Ok(came)
            }
            Err(Unsubmitted::Nothing(_)) => Ok(Came::Nothing),
            Err(Unsubmitted::Error(error)) => Err(error),
        }
    }
}

/// Whether anything came of an input, and took its row with it.
enum Came {
    Something,
    Nothing,
}

impl Came {
    fn of(taken: super::replies::Taken) -> Self {
        use super::replies::Taken;
        match taken {
            Taken::Accepted | Taken::Late => Self::Something,
            Taken::Duplicate | Taken::Stray => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::StepIndex;
    use crate::definition::request::Phase;
    use crate::message::ReplyOutcome;
    use crate::saga::Resolution;

    fn kept(letter: &Letter) -> Letter {
        let text = serde_json::to_string(letter).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_left_is_what_was_sent() {
        let inputs = [
            Input::Signal {
                name: "go".to_owned(),
                payload: serde_json::json!({ "a": [1, null] }),
                key: Some("k".to_owned()),
                actor: "ann".to_owned(),
            },
            Input::Command {
                command: Command::Cancel { reason: None },
                actor: "ann".to_owned(),
            },
            Input::Command {
                command: Command::Resolve {
                    step: StepIndex(3),
                    resolution: Resolution::Succeeded,
                    note: "by hand".to_owned(),
                    output: serde_json::json!(7),
                },
                actor: "ann".to_owned(),
            },
        ];
        for input in inputs {
            let again = match kept(&Letter::of_input(&input).unwrap()) {
                Letter::Signal {
                    name,
                    payload,
                    key,
                    actor,
                } => Input::Signal {
                    name,
                    payload,
                    key,
                    actor,
                },
                Letter::Command { command, actor } => Input::Command { command, actor },
                other @ (Letter::Reply { .. } | Letter::DeadLettered { .. }) => {
                    panic!("{other:?}")
                }
            };
            assert_eq!(again, input);
        }
    }

    #[test]
    fn a_reply_is_left_as_the_message_that_it_is() {
        let reply = Reply {
            id: "r-1".to_owned(),
            source: "/bank".to_owned(),
            saga: SagaId(uuid::Uuid::from_u128(7)),
            step: "pay".to_owned(),
            phase: Phase::Compensation,
            outcome: ReplyOutcome::Succeeded(serde_json::json!("é")),
        };
        let Letter::Reply { message } = kept(&Letter::of_reply(&reply)) else {
            panic!("not a reply")
        };
        assert_eq!(Reply::read(message.as_bytes()).unwrap(), reply);
    }
}
