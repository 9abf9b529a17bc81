//! What the gate turned away, told to the audit: at a bounded rate, from a bounded queue, and never
//! so that an answer waits for it. What is passed over is counted, and the next record says so.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tokens::TokenError;
use super::{Refusal, Role};
use crate::engine::clock;
use crate::store::{AuditAction, AuditRecord, Store};

/// How many are told of in a second, by one process.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// How many at once after a quiet time.
const BURST: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// How many may wait to be written.
const WAITING_MAX: usize = 256;
/// How long after the database failed it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the end waits for what is not written yet.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells the audit what was turned away.
pub(super) struct Violations {
    limiter: DefaultDirectRateLimiter,
    queue: mpsc::Sender<AuditRecord>,
    suppressed: Arc<AtomicU64>,
}

impl Violations {
    pub(super) fn launch(store: Store, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tasks.spawn(write(store, waiting, stop.clone()));
        Self {
            limiter: RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(BURST)),
            queue,
            suppressed: Arc::default(),
        }
    }

    /// Tells of a request that was turned away.
    pub(super) fn tell(&self, request: &HttpRequest, refusal: &Refusal) {
        let Some(place) = self.place() else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let remote = request.peer_addr().map(|address| address.ip());
        let route = request.match_pattern().unwrap_or_default();
        let suppressed = self.suppressed.swap(0, Ordering::Relaxed);
        let reason = refusal.word();
        tracing::warn!(
            actor = refusal.actor(),
            remote = remote.map(tracing::field::display),
            method = %request.method(),
            route,
            reason,
            suppressed,
            "a request was turned away"
        );
        let roles = refusal.roles();
        let detail = Detail {
            method: request.method().as_str(),
            route: &route,
            reason,
            role: roles.map(|(role, _)| role.map(Role::as_str)),
            needed: roles.map(|(_, needed)| needed.as_str()),
            suppressed,
        };
        let detail = serde_json::to_value(detail).unwrap_or_default();
        let action = AuditAction::SecurityViolation;
        let record = AuditRecord::new(action, clock::now(), refusal.actor(), remote);
        place.send(record.with_detail(&detail));
    }

    /// A place in the queue, when the rate and its length allow one.
    fn place(&self) -> Option<mpsc::Permit<'_, AuditRecord>> {
        let place = self.queue.try_reserve().ok()?;
        self.limiter.check().ok().map(|()| place)
    }
}

/// What the audit is told beside who and when.
#[derive(Serialize)]
struct Detail<'a> {
    method: &'a str,
    /// The route's pattern.
    route: &'a str,
    reason: &'a str,
    /// The role that somebody has who has too little of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<&'a str>,
    /// How many were passed over since the last record.
    #[serde(skip_serializing_if = "is_none")]
    suppressed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Refusal {
    /// The role that somebody has, and the one that is needed.
    fn roles(&self) -> Option<(Option<Role>, Role)> {
        match self {
            Self::Role { known, needed } => Some((known.role, *needed)),
            Self::Missing | Self::Unreadable | Self::UnknownKey | Self::Token(_) => None,
        }
    }

    /// The reason in a word that does not change.
    fn word(&self) -> &'static str {
        match self {
            Self::Missing => "no_credential",
            Self::Unreadable => "credential_unreadable",
            Self::UnknownKey => "unknown_key",
            Self::Role { .. } => "role_too_low",
            Self::Token(error) => match error {
                TokenError::Unreadable => "token_unreadable",
                TokenError::Algorithm => "token_algorithm",
                TokenError::NoKeyId => "token_without_key_id",
                TokenError::UnknownKey => "token_of_unknown_key",
                TokenError::KeysAway => "issuer_away",
                TokenError::Signature => "token_signature",
                TokenError::Issuer => "token_issuer",
                TokenError::Audience => "token_audience",
                TokenError::Expired => "token_expired",
                TokenError::NotYet => "token_not_valid_yet",
                TokenError::Claims => "token_claims",
            },
        }
    }
}

/// Writes what waits. At the end it gets a moment more, and no longer.
async fn write(store: Store, mut waiting: mpsc::Receiver<AuditRecord>, stop: CancellationToken) {
    stop.run_until_cancelled(async {
        while let Some(record) = waiting.recv().await {
            while !written(&store, &record).await {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    })
    .await;
    let last_words = async {
        while let Ok(record) = waiting.try_recv() {
            if !written(&store, &record).await {
                break;
            }
        }
    };
    if tokio::time::timeout(LAST_WORDS, last_words).await.is_err() {
        tracing::warn!("what was turned away last is not in the audit");
    }
}

async fn written(store: &Store, record: &AuditRecord) -> bool {
    match store.record(std::slice::from_ref(record)).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was turned away cannot be written to the audit now"
            );
            !error.is_unavailable()
        }
    }
}
