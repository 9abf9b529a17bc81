//! What whoever has a message of a broker holds, to say what is to become of it.

use std::fmt;

use tokio::sync::mpsc;

use super::broker::Receipt;

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done with.
    Done,
    /// It is to come again.
    Again,
    /// It is a dead letter.
    Dead,
}

/// What whoever has a message tells of it. One that is dropped says `Again`.
pub(crate) struct Ticket {
    tag: u64,
    tell: Option<mpsc::Sender<(u64, Verdict)>>,
}

impl Ticket {
    pub(crate) fn new(tag: u64, tell: mpsc::Sender<(u64, Verdict)>) -> Self {
        Self {
            tag,
            tell: Some(tell),
        }
    }

    pub(crate) fn settle(mut self, verdict: Verdict) {
        self.say(verdict);
    }

    fn say(&mut self, verdict: Verdict) {
        if let Some(tell) = self.tell.take() {
            // There is room for as many as may be brought. Where the channel is gone, the server
            // brings its messages again.
            let _told = tell.try_send((self.tag, verdict)).is_ok();
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ticket")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.say(Verdict::Again);
    }
}

#[async_trait::async_trait]
impl Receipt for Ticket {
    async fn done(self: Box<Self>) {
        self.settle(Verdict::Done);
    }

    async fn again(self: Box<Self>) {
        self.settle(Verdict::Again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_says_one_thing_and_a_dropped_one_says_again() {
        let (tell, mut told) = mpsc::channel(4);
        Ticket::new(1, tell.clone()).settle(Verdict::Done);
        Ticket::new(2, tell.clone()).settle(Verdict::Dead);
        drop(Ticket::new(3, tell));
        let mut said = Vec::new();
        while let Ok(it) = told.try_recv() {
            said.push(it);
        }
        let expected = [(1, Verdict::Done), (2, Verdict::Dead), (3, Verdict::Again)];
        assert_eq!(said, expected);
    }
}
