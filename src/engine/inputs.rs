//! What reaches a saga from outside: commands, signals, and whoever waits for it or reads it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::active::Entry;
use super::advance::{NotTaken, Submitted, Whence};
use super::inbox::Letter;
use super::start::DATABASE_PATIENCE;
use super::tenure::Tenure;
use super::{Accepted, Actor, CommandError, Engine, Snapshot, clock};
use crate::saga::{Command, Input, SagaId, decide};
use crate::store::AppendError;

/// A saga that was looked for by its owner.
enum Found {
    /// In memory, or brought there.
    Here(Arc<Entry>),
    /// Finished: it takes nothing any more.
    Finished(Snapshot),
}

impl Engine {
    /// Gives a command to a saga; answers with its state when the command is durable.
    ///
    /// # Errors
    /// See [`CommandError`]; nothing has changed then.
    pub async fn command(
        &self,
        id: SagaId,
        command: Command,
        actor: Actor,
    ) -> Result<Snapshot, CommandError> {
        let Actor { name, remote } = actor;
        let input = Input::Command {
            command,
            actor: name,
        };
        self.input(id, input, remote).await
    }

    /// Gives a signal to a saga; answers when it is durable.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn signal(
        &self,
        id: SagaId,
        name: String,
        payload: Value,
        key: Option<String>,
        actor: Actor,
    ) -> Result<Snapshot, CommandError> {
        let input = Input::Signal {
            name,
            payload,
            key,
            actor: actor.name,
        };
        self.input(id, input, actor.remote).await
    }

    /// Waits until a saga that was started has finished or failed, at most so long, or until a drain
    /// begins. `None` when that did not come to pass.
    pub async fn settled(&self, started: &Accepted, within: Duration) -> Option<Snapshot> {
        // One that has finished by now is not in memory any more, and with many clients that is most
        // of them: to read them all back would cost more than to carry them out.
        let now = match &started.entry {
            Some(entry) => entry.snapshot(),
            None => started.snapshot.clone(),
        };
        if now.saga.status().is_settled() {
            return Some(now);
        }
        let deadline = tokio::time::Instant::now() + within;
        let tenure = self.parts.tenure()?;
        loop {
            let entry = match tenure.find(started.snapshot.saga.id).await.ok()? {
                Found::Here(entry) => entry,
                Found::Finished(snapshot) => return Some(snapshot),
            };
            let waiting = {
                let mut state = entry.state.lock();
                if state.durable.status().is_settled() {
                    let saga = Arc::clone(&state.durable);
                    return Some(Snapshot {
                        definition: Arc::clone(&entry.definition),
                        saga,
                    });
                }
                if state.left {
                    continue;
                }
                let (tell, told) = oneshot::channel();
                state.waiters.push(tell);
                told
            };
            let settled = tokio::select! {
                told = waiting => told.ok(),
                () = tokio::time::sleep_until(deadline) => None,
                () = self.parts.stopping.draining.cancelled() => None,
                () = tenure.ended.cancelled() => None,
            };
            if settled.is_none() {
                let mut state = entry.state.lock();
                tenure.keep_or_leave(&entry, &mut state);
            }
            return settled;
        }
    }

    /// The saga as it stands, from memory or from its journal, whoever owns it.
    ///
    /// # Errors
    /// `NotFound`, `JournalUnreadable`, `DatabaseUnavailable`, `Internal`.
    pub async fn saga(&self, id: SagaId) -> Result<Snapshot, CommandError> {
        if let Some(entry) = self.parts.tenure().and_then(|tenure| tenure.active.get(id)) {
            return Ok(entry.snapshot());
        }
        Ok(self.parts.read(id).await?.snapshot)
    }

    async fn input(
        &self,
        id: SagaId,
        input: Input,
        remote: Option<IpAddr>,
    ) -> Result<Snapshot, CommandError> {
        if self.parts.stopping.draining.is_cancelled() {
            return Err(CommandError::Draining);
        }
        let Some(tenure) = self.parts.tenure() else {
            return self.leave(id, input, remote).await;
        };
        if !self.parts.database_answers(&tenure) {
            return Err(CommandError::DatabaseUnavailable);
        }
        let (tell, told) = oneshot::channel();
        let task = take_in(Arc::clone(&tenure), id, (input.clone(), remote), tell);
        tenure.spawn_for(id, task);
        match tokio::time::timeout(DATABASE_PATIENCE, told).await {
            Ok(Ok(Err(CommandError::NotReady))) => self.leave(id, input, remote).await,
            Ok(Ok(answer)) => answer,
            Ok(Err(_closed)) => Err(CommandError::NotReady),
            Err(_elapsed) => Err(CommandError::DatabaseUnavailable),
        }
    }

    /// Leaves an input for the saga's owner, where the saga would take it as it stands; answers with
    /// that.
    async fn leave(
        &self,
        id: SagaId,
        input: Input,
        remote: Option<IpAddr>,
    ) -> Result<Snapshot, CommandError> {
        let letter = Letter::of_input(&input).ok_or(CommandError::NotReady)?;
        let patient = tokio::time::timeout(DATABASE_PATIENCE, async {
            let read = self.parts.read(id).await?;
            let Snapshot { definition, saga } = &read.snapshot;
            let decision = decide(definition, saga, input, clock::now())?;
            if !decision.events.is_empty() {
                self.parts.leave((id, read.shard), remote, &letter).await?;
            }
            Ok(read.snapshot)
        });
        let told = patient.await;
        told.unwrap_or(Err(CommandError::DatabaseUnavailable))
    }
}

/// Takes an input in and goes on with what follows. Runs on a task of its own: the client may go
/// away at any moment.
async fn take_in(
    tenure: Arc<Tenure>,
    id: SagaId,
    (input, remote): (Input, Option<IpAddr>),
    tell: oneshot::Sender<Result<Snapshot, CommandError>>,
) {
    let answer = match tenure.submit_by_id(id, input, remote).await {
        Ok((entry, submitted)) => match tenure.durable(&entry, submitted).await {
            Ok((_, snapshot, calls)) => {
                tenure.send(&entry, calls);
                Ok(entry.shown(snapshot.saga))
            }
            Err(AppendError::Rejected(_)) => Err(CommandError::Internal),
            Err(
                AppendError::Withdrawn
                | AppendError::Fenced
                | AppendError::Clash
                | AppendError::Closed,
            ) => Err(CommandError::NotReady),
        },
        Err(Unsubmitted::Error(error)) => Err(error),
        Err(Unsubmitted::Nothing(snapshot)) => Ok(snapshot),
    };
    // Whoever asked may have gone.
    let _gone = tell.send(answer);
}

/// Why an input made no events.
pub(super) enum Unsubmitted {
    /// It was not taken.
    Error(CommandError),
    /// The saga has finished, and the input changes nothing.
    Nothing(Snapshot),
}

impl Tenure {
    /// Finds a saga and submits an input to it.
    pub(super) async fn submit_by_id(
        self: &Arc<Self>,
        id: SagaId,
        input: Input,
        remote: Option<IpAddr>,
    ) -> Result<(Arc<Entry>, Submitted), Unsubmitted> {
        loop {
            let entry = match self.find(id).await.map_err(Unsubmitted::Error)? {
                Found::Here(entry) => entry,
                Found::Finished(snapshot) => {
                    let now = clock::now();
                    return match decide(&snapshot.definition, &snapshot.saga, input, now) {
                        Ok(_nothing) => Err(Unsubmitted::Nothing(snapshot)),
                        Err(rejection) => Err(Unsubmitted::Error(rejection.into())),
                    };
                }
            };
            match self.submit(&entry, input.clone(), remote) {
                Ok(submitted) => return Ok((entry, submitted)),
                Err(NotTaken::Rejected(rejection)) => {
                    self.leave_alone(&entry);
                    return Err(Unsubmitted::Error(rejection.into()));
                }
                // It left memory in this very moment.
                Err(NotTaken::Left) => {}
            }
        }
    }

    /// A saga that this replica owns, brought into memory even when it has finished: a late reply is
    /// recorded all the same.
    pub(super) async fn find_any(self: &Arc<Self>, id: SagaId) -> Result<Arc<Entry>, CommandError> {
        match self.find(id).await? {
            Found::Here(entry) => Ok(entry),
            Found::Finished(_) => {
                let _loading = self.loading(id).await;
                if let Some(entry) = self.active.get(id) {
                    return Ok(entry);
                }
                let read = self.parts.read(id).await?;
                let fence = self.fence(read.shard).ok_or(CommandError::NotReady)?;
                Ok(self.bring_in(read, fence))
            }
        }
    }

    /// Finds a saga, finished or not, and submits an input to it.
    pub(super) async fn submit_to_any(
        self: &Arc<Self>,
        id: SagaId,
        input: Input,
        whence: Whence,
    ) -> Result<(Arc<Entry>, Submitted), Unsubmitted> {
        loop {
            let entry = self.find_any(id).await.map_err(Unsubmitted::Error)?;
            match self.submit(&entry, input.clone(), whence) {
                Ok(submitted) => return Ok((entry, submitted)),
                Err(NotTaken::Rejected(rejection)) => {
                    self.leave_alone(&entry);
                    return Err(Unsubmitted::Error(rejection.into()));
                }
                // It left memory in this very moment.
                Err(NotTaken::Left) => {}
            }
        }
    }

    /// Lets a saga that was looked at leave memory again, where it has nothing to do.
    pub(super) fn leave_alone(&self, entry: &Arc<Entry>) {
        self.keep_or_leave(entry, &mut entry.state.lock());
    }

    /// A saga that this replica owns, brought into memory when it is not there.
    async fn find(self: &Arc<Self>, id: SagaId) -> Result<Found, CommandError> {
        if self.is_aside(id) {
            return Err(CommandError::JournalUnreadable);
        }
        if let Some(entry) = self.active.get(id) {
            return Ok(Found::Here(entry));
        }
        let _loading = self.loading(id).await;
        if let Some(entry) = self.active.get(id) {
            return Ok(Found::Here(entry));
        }
        let read = self.parts.read(id).await?;
        if read.snapshot.saga.status().is_finished() {
            return Ok(Found::Finished(read.snapshot));
        }
        let fence = self.fence(read.shard).ok_or(CommandError::NotReady)?;
        Ok(Found::Here(self.bring_in(read, fence)))
    }
}

#[cfg(test)]
mod tests;
