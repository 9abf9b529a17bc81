//! Starting sagas: validation, admission, a shard, an id, and an answer once it is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::active::Entry;
use super::advance::{Beside, counts};
use super::catalogue::Startable;
use super::summary::Persisted;
use super::tenure::Tenure;
use super::{Accepted, Engine, Idempotency, Snapshot, StartError, StartRequest, clock};
use crate::definition::Definition;
use crate::saga::{self, Decision, SagaId, Started};
use crate::store::{AppendError, Appended, StartKey, StartRecord};

/// How long a start or a command waits for a database that does not answer before its client is
/// told so.
pub(super) const DATABASE_PATIENCE: Duration = Duration::from_secs(5);

impl Engine {
    /// Starts a saga; answers when it is durable. Dropping the future does not undo the start.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was started then.
    pub async fn start(&self, request: StartRequest) -> Result<Accepted, StartError> {
        let tenure = self.tenure_for_start()?;
        let definition = match self.definition_for(&request).await {
            Ok(definition) => definition,
            Err(refusal) => return self.seen_or(refusal, &request).await,
        };
        let owned = tenure.shard_for_start().ok_or(StartError::NotReady)?;
        if !tenure.admit() {
            return self.seen_or(StartError::TooManySagas, &request).await;
        }
        let idempotency = request.idempotency.clone();
        let remote = request.actor.remote;
        let (decision, record) = begin(&definition, request);
        let withdrawn = Arc::clone(&record.withdrawn);
        let beside = Beside {
            start: Some(record),
            remote,
            inbox: None,
            said: None,
        };
        let begun = Arc::new(decision.saga.clone());
        let persisted = Persisted::of(&begun, true, begun.created_at);
        let metrics = self.parts.metrics.sagas_of(&definition);
        let (shard, fence) = (owned.shard, owned.fence);
        let entry = Entry::new(definition, shard, fence, metrics, begun, persisted);
        let (tell, told) = oneshot::channel();
        let task = make_durable(
            Arc::clone(&tenure),
            Arc::clone(&entry),
            decision,
            beside,
            tell,
        );
        tenure.spawn_for(entry.id, task);
        let appended = match tokio::time::timeout(DATABASE_PATIENCE, told).await {
            Ok(Ok(appended)) => appended,
            Ok(Err(_closed)) => return Err(self.why_not_written()),
            Err(_elapsed) => {
                withdrawn.store(true, Ordering::Relaxed);
                return Err(StartError::DatabaseUnavailable);
            }
        };
        match appended {
            Ok((Appended::Written, snapshot)) => Ok(Accepted {
                snapshot,
                replayed: false,
                entry: Some(entry),
            }),
            Ok((Appended::KeySeen { saga, digest }, _)) => {
                self.seen_before(saga, digest, idempotency.as_ref()).await
            }
            Err(AppendError::Rejected(_)) => Err(StartError::Internal),
            Err(AppendError::Withdrawn) => Err(StartError::DatabaseUnavailable),
            Err(AppendError::Fenced | AppendError::Clash | AppendError::Closed) => {
                Err(self.why_not_written())
            }
        }
    }

    /// Whether a start would be taken at this moment, as far as that does not depend on what is
    /// started. It spares a replica that has too much to do the reading of what it would refuse.
    ///
    /// # Errors
    /// `Draining`, `NotReady`, `DatabaseUnavailable`, `TooManySagas`.
    pub fn takes_starts(&self) -> Result<(), StartError> {
        if self.tenure_for_start()?.has_room() {
            Ok(())
        } else {
            Err(StartError::TooManySagas)
        }
    }

    fn tenure_for_start(&self) -> Result<Arc<Tenure>, StartError> {
        if self.parts.stopping.draining.is_cancelled() {
            return Err(StartError::Draining);
        }
        let tenure = self.parts.tenure().ok_or(StartError::NotReady)?;
        if !self.parts.database_answers(&tenure) {
            return Err(StartError::DatabaseUnavailable);
        }
        Ok(tenure)
    }

    /// The definition that a start begins from, its input checked.
    async fn definition_for(&self, request: &StartRequest) -> Result<Arc<Definition>, StartError> {
        let StartRequest {
            definition: name,
            version,
            input,
            ..
        } = request;
        let catalogue = &self.parts.catalogue;
        let mut found = catalogue.startable(name, *version);
        if matches!(found, Startable::Unknown) {
            // Another replica may have published it a moment ago.
            catalogue.refresh().await.map_err(|error| {
                tracing::warn!(%error, "a definition could not be looked for");
                StartError::DatabaseUnavailable
            })?;
            found = catalogue.startable(name, *version);
        }
        let definition = match found {
            Startable::Yes(definition) => definition,
            Startable::Paused => {
                return Err(StartError::DefinitionPaused {
                    name: name.clone(),
                    version: *version,
                });
            }
            Startable::Unknown => {
                return Err(StartError::DefinitionNotFound {
                    name: name.clone(),
                    version: *version,
                });
            }
        };
        let problems = definition
            .input
            .as_ref()
            .map_or_else(Vec::new, |schema| schema.problems(input));
        if problems.is_empty() {
            Ok(definition)
        } else {
            Err(StartError::InputInvalid(problems))
        }
    }

    /// A start that was made before is answered with its saga, whatever has become of its
    /// definition since: paused, or with a newer version that takes other input.
    async fn seen_or(
        &self,
        refusal: StartError,
        request: &StartRequest,
    ) -> Result<Accepted, StartError> {
        let Some(own) = &request.idempotency else {
            return Err(refusal);
        };
        match refusal {
            StartError::DefinitionPaused { .. }
            | StartError::InputInvalid(_)
            | StartError::TooManySagas => {}
            StartError::DefinitionNotFound { .. }
            | StartError::KeyReused
            | StartError::NotReady
            | StartError::Draining
            | StartError::DatabaseUnavailable
            | StartError::Internal => return Err(refusal),
        }
        match self.parts.store.start_key(&own.key).await {
            Ok(Some((saga, digest))) if digest == own.digest => {
                self.seen_before(saga, digest, Some(own)).await
            }
            Ok(Some(_) | None) => Err(refusal),
            Err(error) if error.is_unavailable() => Err(StartError::DatabaseUnavailable),
            Err(error) => {
                tracing::error!(%error, "a start key could not be read");
                Err(StartError::Internal)
            }
        }
    }

    fn why_not_written(&self) -> StartError {
        if self.parts.stopping.draining.is_cancelled() {
            StartError::Draining
        } else {
            StartError::NotReady
        }
    }

    async fn seen_before(
        &self,
        saga: SagaId,
        digest: [u8; 32],
        idempotency: Option<&Idempotency>,
    ) -> Result<Accepted, StartError> {
        if idempotency.is_none_or(|own| own.digest != digest) {
            return Err(StartError::KeyReused);
        }
        match self.saga(saga).await {
            Ok(snapshot) => Ok(Accepted {
                snapshot,
                replayed: true,
                entry: None,
            }),
            Err(super::CommandError::DatabaseUnavailable) => Err(StartError::DatabaseUnavailable),
            Err(_unreadable) => Err(StartError::Internal),
        }
    }
}

/// Decides the start, and what of it goes beside the journal.
fn begin(definition: &Definition, request: StartRequest) -> (Decision, StartRecord) {
    let now = clock::now();
    let mut labels = definition.labels.clone();
    labels.extend(request.labels);
    let started = Started {
        definition: definition.name.clone(),
        version: definition.version,
        key: request.key,
        labels: labels.clone(),
        input: Arc::new(request.input),
        deadline: definition.timeout_ms.map(|timeout| now.plus_ms(timeout)),
        traceparent: request.traceparent,
        tracestate: request.tracestate,
        actor: request.actor.name,
    };
    let record = StartRecord {
        key: request.idempotency.map(|own| StartKey {
            key: own.key,
            digest: own.digest,
        }),
        labels,
        withdrawn: Arc::new(AtomicBool::new(false)),
    };
    (
        saga::start(definition, clock::saga_id(), started, now),
        record,
    )
}

type Told = Result<(Appended, Snapshot), AppendError>;

/// Writes the start, tells whoever waits, and goes on with the saga. Runs on a task of its own:
/// the client may go away at any moment, the saga may not.
async fn make_durable(
    tenure: Arc<Tenure>,
    entry: Arc<Entry>,
    decision: Decision,
    beside: Beside,
    tell: oneshot::Sender<Told>,
) {
    tenure.active.insert(Arc::clone(&entry));
    let submitted = {
        let mut state = entry.state.lock();
        tenure.record(&entry, &mut state, decision, beside)
    };
    let durable = tokio::select! {
        biased;
        durable = tenure.durable(&entry, submitted) => durable,
        () = tenure.stopping().hard.cancelled() => return,
    };
    let (appended, snapshot, mut calls) = match durable {
        Ok(durable) => durable,
        Err(error) => {
            tenure.count_out();
            // The client may have gone.
            let _gone = tell.send(Err(error));
            return;
        }
    };
    let seen = matches!(appended, Appended::KeySeen { .. });
    if seen {
        tenure.active.remove(entry.id);
    }
    // `record` counts what changes; a start that was none, or that ended at once, changed nothing.
    if seen || !counts(&snapshot.saga) {
        tenure.count_out();
    }
    let _gone = tell.send(Ok((appended, snapshot)));
    if seen {
        // This saga was never made: its first calls must not leave.
        return;
    }
    let Some(last) = calls.pop() else { return };
    tenure.send(&entry, calls);
    tenure.carry_out(entry, last, None).await;
}
