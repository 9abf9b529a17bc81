//! Where the keys of tokens come from: a file, read again when it changes, or a URL, fetched again
//! now and then and when a token names a key that is not known. What cannot be read or fetched
//! leaves the keys that are in force as they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::tokens::KeysInForce;
use crate::config::{JwtKeys, KeyError, VerificationKeys};

/// How often a file is looked at.
const FILE_EVERY: Duration = Duration::from_secs(1);
/// How often a URL is fetched.
const FETCH_EVERY: Duration = Duration::from_secs(300);
/// How soon a fetch that failed is tried again.
const FETCH_AGAIN: Duration = Duration::from_secs(15);
/// How far apart fetches are at least, whatever tokens come.
const FETCH_APART: Duration = Duration::from_secs(2);
/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest set of keys that is read, in bytes.
const SET_BYTES_MAX: usize = 1 << 20;

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// A file cannot be read.
    #[error("the file {} cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// They cannot be fetched.
    #[error("the issuer's keys cannot be fetched")]
    Fetch(#[from] reqwest::Error),
    /// The issuer says no.
    #[error("the issuer's keys cannot be fetched: it answers {0}")]
    Status(reqwest::StatusCode),
    /// The set is too long.
    #[error("the issuer's keys are longer than {SET_BYTES_MAX} bytes")]
    TooLong,
    /// They are of no use.
    #[error("the keys of tokens cannot be used")]
    Keys(#[from] KeyError),
}

/// The keys of tokens, as they are now.
pub(super) struct KeySource {
    current: watch::Receiver<Current>,
    /// Asks for a fetch; none for a file, which is looked at anyway.
    wanted: Option<Arc<Notify>>,
}

/// The keys in force, and when they were looked for last.
#[derive(Clone)]
struct Current {
    keys: Arc<KeysInForce>,
    tried_at: Option<Instant>,
}

impl KeySource {
    pub(super) async fn launch(
        keys: &JwtKeys,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, KeySourceError> {
        match keys {
            JwtKeys::Pem(path) => {
                Self::of_file(path, VerificationKeys::from_pem, tasks, stop).await
            }
            JwtKeys::JwksFile(path) => {
                Self::of_file(path, VerificationKeys::from_jwks, tasks, stop).await
            }
            JwtKeys::JwksUrl(url) => Self::of_url(url, tasks, stop),
        }
    }

    async fn of_file(
        path: &Path,
        read: fn(&[u8]) -> Result<VerificationKeys, KeyError>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, KeySourceError> {
        let bytes = bytes_of(path).await?;
        let keys = KeysInForce::new(Some(read(&bytes)?));
        let (sender, current) = watch::channel(Current {
            keys,
            tried_at: Some(Instant::now()),
        });
        let file = KeyFile {
            path: path.to_owned(),
            read,
            seen: Some(bytes),
            sender,
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(file.watch()));
        Ok(Self {
            current,
            wanted: None,
        })
    }

    /// The issuer may be away: the keys come when it is back.
    fn of_url(
        url: &Url,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, KeySourceError> {
        if url.scheme() == "http" {
            tracing::warn!(
                "the issuer's keys are fetched without TLS: whoever is in between could change them"
            );
        }
        let (sender, current) = watch::channel(Current {
            keys: KeysInForce::new(None),
            tried_at: None,
        });
        let wanted = Arc::new(Notify::new());
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("amends/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let issuer = Issuer {
            url: url.clone(),
            client,
            wanted: Arc::clone(&wanted),
            sender,
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(issuer.follow()));
        Ok(Self {
            current,
            wanted: Some(wanted),
        })
    }

    /// The keys in force.
    pub(super) fn keys(&self) -> Arc<KeysInForce> {
        Arc::clone(&self.current.borrow().keys)
    }

    /// The keys after they were looked for once more; none when that was done a moment ago, or
    /// comes to nothing.
    pub(super) async fn renewed(&self) -> Option<Arc<KeysInForce>> {
        let wanted = self.wanted.as_ref()?;
        let mut current = self.current.clone();
        let tried_at = current.borrow_and_update().tried_at;
        if tried_at.is_some_and(|at| at.elapsed() < FETCH_APART) {
            return None;
        }
        wanted.notify_one();
        let changed = tokio::time::timeout(FETCH_TIMEOUT, current.changed()).await;
        changed.ok()?.ok()?;
        let keys = Arc::clone(&current.borrow().keys);
        Some(keys)
    }
}

async fn bytes_of(path: &Path) -> Result<Vec<u8>, KeySourceError> {
    tokio::fs::read(path)
        .await
        .map_err(|source| KeySourceError::File {
            path: path.to_owned(),
            source,
        })
}

/// Keys in a file.
struct KeyFile {
    path: PathBuf,
    read: fn(&[u8]) -> Result<VerificationKeys, KeyError>,
    /// What was in it last; none when it could not be read.
    seen: Option<Vec<u8>>,
    sender: watch::Sender<Current>,
}

impl KeyFile {
    async fn watch(mut self) {
        loop {
            tokio::time::sleep(FILE_EVERY).await;
            let read = bytes_of(&self.path).await;
            let now = read.as_ref().ok();
            if now == self.seen.as_ref() {
                continue;
            }
            self.seen = now.cloned();
            let keys = read.and_then(|bytes| Ok((self.read)(&bytes)?));
            put_in_force(&self.sender, keys);
        }
    }
}

/// An issuer that serves its keys.
struct Issuer {
    url: Url,
    client: reqwest::Client,
    wanted: Arc<Notify>,
    sender: watch::Sender<Current>,
}

impl Issuer {
    async fn follow(self) {
        loop {
            let fetched = self.fetch().await;
            let pause = if fetched.is_ok() {
                FETCH_EVERY
            } else {
                FETCH_AGAIN
            };
            put_in_force(&self.sender, fetched);
            // What asked meanwhile was answered by this fetch.
            tokio::time::sleep(FETCH_APART).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<VerificationKeys, KeySourceError> {
        let mut answer = self.client.get(self.url.clone()).send().await?;
        if !answer.status().is_success() {
            return Err(KeySourceError::Status(answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > SET_BYTES_MAX {
                return Err(KeySourceError::TooLong);
            }
        }
        Ok(VerificationKeys::from_jwks(&bytes)?)
    }
}

/// Puts keys in force, or leaves those that are.
fn put_in_force(sender: &watch::Sender<Current>, keys: Result<VerificationKeys, KeySourceError>) {
    let keys = match keys {
        Ok(keys) => {
            tracing::debug!("the keys of tokens were read");
            KeysInForce::new(Some(keys))
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the keys of tokens were not renewed; those in force stay"
            );
            Arc::clone(&sender.borrow().keys)
        }
    };
    sender.send_replace(Current {
        keys,
        tried_at: Some(Instant::now()),
    });
}
