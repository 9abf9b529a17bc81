//! How messaging over one broker stands: what `health` answers, and what is logged when it changes.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::broker::{BrokerHealth, BrokerKind};

/// What can be up or down by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Queues are as they should be, where that is seen to apart from publishing.
    Queues,
    /// Exchanges and queues are there, and messages are taken.
    Publishing,
    /// What the first consumer consumes: replies.
    Consuming,
    /// Dead letters are brought.
    DeadLetters,
    /// What lies in one queue is brought, where every queue is asked by itself: its number.
    Queue(usize),
}

/// How every part stands. Share one.
#[derive(Debug)]
pub(crate) struct Standing {
    broker: BrokerKind,
    parts: Mutex<Parts>,
    /// Whether exchanges and queues are as they should be, as far as we know.
    fits: watch::Sender<bool>,
    /// Somebody missed a queue: look at all of them again.
    look: Notify,
}

#[derive(Debug)]
struct Parts {
    /// What is wrong with each part that is wanted.
    problems: BTreeMap<Part, Option<String>>,
    /// Why the server takes no messages, while it does not.
    blocked: Option<String>,
    /// What was logged last.
    told: Option<String>,
}

impl Standing {
    /// Nothing is known yet; `first` is what is waited for before anything else.
    pub(crate) fn new(broker: BrokerKind, first: Part) -> Self {
        let problem = "it was not reached yet".to_owned();
        Self {
            broker,
            parts: Mutex::new(Parts {
                problems: BTreeMap::from([(first, Some(problem.clone()))]),
                blocked: None,
                told: Some(problem),
            }),
            fits: watch::Sender::new(false),
            look: Notify::new(),
        }
    }

    /// `part` is well.
    pub(crate) fn up(&self, part: Part) {
        self.change(|parts| {
            parts.problems.insert(part, None);
        });
    }

    /// `part` is not well.
    pub(crate) fn down(&self, part: Part, problem: String) {
        self.change(|parts| {
            parts.problems.insert(part, Some(problem));
        });
    }

    /// Nobody wants `part` any more.
    pub(crate) fn unwanted(&self, part: Part) {
        self.change(|parts| {
            parts.problems.remove(&part);
        });
    }

    /// It was closed, which is what was wanted: nobody needs to hear of it.
    pub(crate) fn closed(&self) {
        let mut parts = self.parts.lock();
        let problem = Some("it was closed".to_owned());
        parts.problems.insert(Part::Publishing, problem);
        parts.told = parts.problem();
    }

    /// Whether the server takes messages.
    pub(crate) fn blocked(&self, why: Option<String>) {
        self.change(|parts| parts.blocked = why);
    }

    /// Exchanges and queues were looked at.
    pub(crate) fn looked(&self, fit: bool) {
        self.fits.send_replace(fit);
    }

    /// Until exchanges and queues are as they should be.
    pub(crate) async fn fits(&self) {
        let mut fits = self.fits.subscribe();
        // The sender is ours, so the wait cannot fail.
        let _fits = fits.wait_for(|fits| *fits).await.is_ok();
    }

    /// Asks for a look at exchanges and queues.
    pub(crate) fn ask_for_a_look(&self) {
        self.look.notify_one();
    }

    /// Until somebody asks for a look.
    pub(crate) async fn asked_for_a_look(&self) {
        self.look.notified().await;
    }

    /// For whoever asks.
    pub(crate) fn health(&self) -> BrokerHealth {
        let problem = self.parts.lock().problem();
        BrokerHealth {
            broker: self.broker,
            up: problem.is_none(),
            problem,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock();
        change(&mut parts);
        let problem = parts.problem();
        if problem == parts.told {
            return;
        }
        let broker = self.broker.as_str();
        match &problem {
            Some(problem) => tracing::warn!(broker, problem, "messaging is down"),
            None => tracing::info!(broker, "messaging is up"),
        }
        parts.told = problem;
    }
}

impl Parts {
    /// Everything that is wrong, each thing once.
    fn problem(&self) -> Option<String> {
        let blocked = self
            .blocked
            .as_ref()
            .map(|why| format!("it takes no messages now: {why}"));
        let mut problems: Vec<&String> = Vec::new();
        for problem in self.problems.values().flatten().chain(blocked.as_ref()) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let words: Vec<&str> = problems.into_iter().map(String::as_str).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_up_when_every_wanted_part_is() {
        let standing = Standing::new(BrokerKind::RabbitMq, Part::Publishing);
        assert!(!standing.health().up);
        standing.up(Part::Publishing);
        assert!(standing.health().up);
        standing.down(Part::Consuming, "gone".to_owned());
        standing.down(Part::DeadLetters, "gone".to_owned());
        standing.blocked(Some("low on memory".to_owned()));
        let health = standing.health();
        assert!(!health.up);
        assert_eq!(
            health.problem.as_deref(),
            Some("gone; it takes no messages now: low on memory")
        );
        standing.blocked(None);
        standing.up(Part::Consuming);
        standing.unwanted(Part::DeadLetters);
        assert!(standing.health().up);
    }
}
