//! The life of a process as its management port sees it: from before there is an engine until
//! after it has stopped.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Drained, Engine, Readiness};

/// Tells of the engine, and drains it, whether it has been launched already or not.
#[derive(Default)]
pub struct Lifecycle {
    engine: OnceLock<Engine>,
    drain_wanted: AtomicBool,
}

impl Lifecycle {
    /// The engine, once it was launched.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.get()
    }

    /// Takes in the engine that was launched. Where a drain was asked for before, it begins now.
    pub fn launched(&self, engine: Engine) -> &Engine {
        let engine = self.engine.get_or_init(|| engine);
        // Set before the wish is looked at, as `drain` does it the other way round: one of the two
        // sees the other.
        if self.drain_wanted.load(Ordering::SeqCst) {
            engine.begin_drain();
        }
        engine
    }

    /// Whether this process may get traffic.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match self.engine() {
            Some(engine) => engine.readiness(),
            None if self.drain_wanted.load(Ordering::SeqCst) => Readiness::Draining,
            None => Readiness::Standby,
        }
    }

    /// Drains, as [`Engine::drain`] does. A process that still starts has nothing to drain: it is
    /// not going to be ready, and that is all.
    pub async fn drain(&self) -> Drained {
        self.drain_wanted.store(true, Ordering::SeqCst);
        match self.engine() {
            Some(engine) => engine.drain().await,
            None => Drained::default(),
        }
    }
}
