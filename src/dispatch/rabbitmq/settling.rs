//! Tells RabbitMQ what became of the messages that it brought, with as few words as that takes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::time::Instant;

use super::connection::Trouble;

/// How long what is done may wait for what came before it, so that one word settles both.
const AHEAD: Duration = Duration::from_millis(50);

/// The messages of one channel that are not settled.
///
/// To a quorum queue each word is an entry of its log, whatever number of messages it settles. So
/// what is done waits a little for what came before it.
#[derive(Debug)]
pub(super) struct Unsettled {
    open: BTreeSet<u64>,
    last: u64,
    /// Done, and the server does not know: one that came before is open.
    ahead: BTreeSet<u64>,
    /// When it is to know all the same.
    due: Option<Instant>,
    /// How many may wait so: they take up room for what the server may bring.
    ahead_max: usize,
}

/// What the server is to be told of what is done.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    /// This one is, and all before it.
    upto: Option<u64>,
    /// Each of these is.
    single: BTreeSet<u64>,
}

impl Unsettled {
    /// None yet, of which so many may be done and wait.
    pub(super) fn new(ahead_max: usize) -> Self {
        Self {
            open: BTreeSet::new(),
            last: 0,
            ahead: BTreeSet::new(),
            due: None,
            ahead_max,
        }
    }

    /// One was brought. The server numbers those of a channel one by one; those between may be under
    /// way to another of its consumers, and are not settled either.
    pub(super) fn brought(&mut self, tag: u64) {
        if tag > self.last {
            self.open.extend(self.last + 1..=tag);
            self.last = tag;
        }
    }

    /// When those are to be told of that are done and wait.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes what is done, and answers what is to be said of it now.
    fn done(&mut self, tags: &[u64], now: Instant) -> Words {
        self.gone(tags);
        self.ahead.extend(tags);
        let first_open = self.open.first().copied().unwrap_or(u64::MAX);
        let ahead = self.ahead.split_off(&first_open);
        let upto = std::mem::replace(&mut self.ahead, ahead).pop_last();
        let is_due = self.due.is_some_and(|due| due <= now) || self.ahead.len() > self.ahead_max;
        let single = if is_due {
            std::mem::take(&mut self.ahead)
        } else {
            BTreeSet::new()
        };
        self.due = if self.ahead.is_empty() {
            None
        } else {
            self.due.or(Some(now + AHEAD))
        };
        Words { upto, single }
    }

    fn gone(&mut self, tags: &[u64]) {
        for tag in tags {
            self.open.remove(tag);
        }
    }

    /// Takes in that `tags` are done with, and tells the server what is to be told by now: all when
    /// `everything` is.
    pub(super) async fn ack(
        &mut self,
        channel: &Channel,
        tags: &[u64],
        everything: bool,
    ) -> Result<(), Trouble> {
        let now = Instant::now();
        if everything {
            self.due = Some(now);
        }
        let Words { upto, single } = self.done(tags, now);
        let all = upto.map(|tag| (tag, true)).into_iter();
        let acks = all.chain(single.into_iter().map(|tag| (tag, false)));
        let written = try_join_all(
            acks.map(|(tag, multiple)| channel.basic_ack(tag, BasicAckOptions { multiple })),
        );
        written.await?;
        Ok(())
    }

    /// Tells the server that `again` are to come again, and that `dead` are dead letters.
    pub(super) async fn nack(
        &mut self,
        channel: &Channel,
        again: Vec<u64>,
        dead: Vec<u64>,
    ) -> Result<(), Trouble> {
        if again.is_empty() && dead.is_empty() {
            return Ok(());
        }
        self.gone(&again);
        self.gone(&dead);
        let all = |tags: Vec<u64>, requeue| {
            try_join_all(tags.into_iter().map(move |tag| {
                let multiple = false;
                channel.basic_nack(tag, BasicNackOptions { multiple, requeue })
            }))
        };
        try_join(all(again, true), all(dead, false)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bed {
        unsettled: Unsettled,
        now: Instant,
    }

    impl Bed {
        fn with(tags: &[u64]) -> Self {
            let mut unsettled = Unsettled::new(3);
            for tag in tags {
                unsettled.brought(*tag);
            }
            let now = Instant::now();
            Self { unsettled, now }
        }

        fn done(&mut self, tags: &[u64]) -> (Option<u64>, Vec<u64>) {
            let Words { upto, single } = self.unsettled.done(tags, self.now);
            (upto, single.into_iter().collect())
        }
    }

    #[test]
    fn one_word_settles_all_that_nothing_open_lies_before() {
        let mut bed = Bed::with(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(bed.done(&[2, 1]), (Some(2), vec![]));
        assert_eq!(bed.unsettled.due(), None);
        assert_eq!(bed.done(&[5, 4]), (None, vec![]));
        assert_eq!(bed.unsettled.due(), Some(bed.now + AHEAD));
        assert_eq!(bed.done(&[3]), (Some(5), vec![]));
        assert_eq!(bed.unsettled.due(), None);
        assert_eq!(bed.done(&[6]), (Some(6), vec![]));
        assert!(bed.unsettled.open.is_empty());
    }

    #[test]
    fn what_waits_too_long_for_one_before_it_is_settled_alone() {
        let mut bed = Bed::with(&[1, 2, 3, 4]);
        assert_eq!(bed.done(&[2]), (None, vec![]));
        let due = bed.unsettled.due().unwrap();
        bed.now = due - Duration::from_millis(1);
        assert_eq!(bed.done(&[3]), (None, vec![]));
        assert_eq!(bed.unsettled.due(), Some(due));
        bed.now = due;
        assert_eq!(bed.done(&[]), (None, vec![2, 3]));
        assert_eq!(bed.unsettled.due(), None);
        assert_eq!(bed.done(&[1]), (Some(1), vec![]));
    }

    #[test]
    fn what_waits_does_so_no_longer_because_others_before_it_are_settled() {
        let mut bed = Bed::with(&[1, 2, 3, 4]);
        assert_eq!(bed.done(&[4]), (None, vec![]));
        let due = bed.unsettled.due().unwrap();
        bed.now = due - Duration::from_millis(1);
        assert_eq!(bed.done(&[1]), (Some(1), vec![]));
        assert_eq!(bed.unsettled.due(), Some(due));
        bed.now = due;
        assert_eq!(bed.done(&[2]), (Some(2), vec![4]));
    }

    #[test]
    fn what_waits_does_not_fill_the_room_for_what_may_come() {
        let mut bed = Bed::with(&[1, 2, 3, 4, 5]);
        assert_eq!(bed.done(&[2, 3, 4]), (None, vec![]));
        assert_eq!(bed.done(&[5]), (None, vec![2, 3, 4, 5]));
        assert_eq!(bed.unsettled.due(), None);
    }

    #[test]
    fn what_another_consumer_has_not_taken_yet_is_not_settled_with_it() {
        let mut bed = Bed::with(&[2, 4]);
        assert_eq!(bed.done(&[2, 4]), (None, vec![]));
        bed.unsettled.brought(1);
        assert_eq!(bed.done(&[1]), (Some(2), vec![]));
        bed.unsettled.brought(3);
        bed.unsettled.gone(&[3]);
        bed.unsettled.brought(5);
        assert_eq!(bed.done(&[5]), (Some(5), vec![]));
    }
}
