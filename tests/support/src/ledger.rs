//! A participant that behaves as participants.md asks, on a network that does not: it injects
//! faults by chance and seed, keeps a ledger of effects, and notes what a coordinator must not do.
//!
//! Any path is taken. A call's identity is its `Idempotency-Key`; the effect belongs to the saga
//! and step of its headers. Whether and how a call fails depends on the seed, the key and how often
//! that key came, and on nothing else, so a run with one coordinator repeats exactly.

mod book;
mod faults;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use book::Effect;
pub use faults::Faults;

use book::Book;

/// A running participant. Ends when dropped.
#[derive(Debug)]
pub struct Ledger {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    book: Mutex<Book>,
    faults: Mutex<Faults>,
}

impl Shared {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> Faults {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Ledger {
    /// Starts one on a free port of loopback, on threads of its own.
    ///
    /// # Panics
    /// When nothing can be listened on.
    #[must_use]
    pub fn start(faults: Faults) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            book: Mutex::default(),
            faults: Mutex::new(faults),
        });
        runtime.spawn(server::serve(listener, shared.clone()));
        Self {
            address,
            shared,
            runtime: Some(runtime),
        }
    }

    /// The URL of the participant, under any name.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// From now on these faults.
    pub fn set_faults(&self, faults: Faults) {
        *self
            .shared
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// The effects of a saga by step.
    #[must_use]
    pub fn effects(&self, saga: &str) -> BTreeMap<String, Effect> {
        self.shared.book().effects(saga)
    }

    /// How many calls came, repeated ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.book().calls()
    }

    /// What a coordinator did that it must not: a second key for one call, a compensation while
    /// the action was in flight, an effect made twice.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.book().violations()
    }

    /// What is wrong with a finished saga: it is all, when it `completed`, or nothing. `steps` are
    /// those with an action that must have been done in a completed one.
    #[must_use]
    pub fn wrong_with(&self, saga: &str, completed: bool, steps: &[&str]) -> Vec<String> {
        let effects = self.effects(saga);
        let mut wrong: Vec<String> = steps
            .iter()
            .filter(|step| completed && !effects.contains_key(**step))
            .map(|step| format!("{saga}: completed, and {step} was never done"))
            .collect();
        for (step, Effect { done, undone }) in &effects {
            let fits = if completed {
                (*done, *undone) == (1, 0)
            } else {
                done == undone
            };
            if !fits {
                let word = if completed {
                    "completed"
                } else {
                    "compensated"
                };
                wrong.push(format!(
                    "{saga}: {word}, and {step} done {done}×, undone {undone}×"
                ));
            }
        }
        wrong
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
