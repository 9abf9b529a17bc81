//! Tells RabbitMQ what became of the messages that it brought, with as few words as that takes.

use std::collections::BTreeSet;

use futures_util::future::{try_join, try_join_all};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};

use super::connection::Trouble;

/// The messages of one channel that are not settled.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    open: BTreeSet<u64>,
    last: u64,
}

impl Unsettled {
    /// One was brought. The server numbers those of a channel one by one; those between may be under
    /// way to another of its consumers, and are not settled either.
    pub(super) fn brought(&mut self, tag: u64) {
        if tag > self.last {
            self.open.extend(self.last + 1..=tag);
            self.last = tag;
        }
    }

    /// Takes what is done, and answers which tag settles itself and all before it, and which each
    /// only itself.
    fn done(&mut self, mut tags: Vec<u64>) -> (Option<u64>, Vec<u64>) {
        self.gone(&tags);
        tags.sort_unstable();
        let first_open = self.open.first().copied().unwrap_or(u64::MAX);
        let settled = tags.partition_point(|tag| *tag < first_open);
        let single = tags.split_off(settled);
        (tags.pop(), single)
    }

    fn gone(&mut self, tags: &[u64]) {
        for tag in tags {
            self.open.remove(tag);
        }
    }

    /// Tells the server that `tags` are done with.
    pub(super) async fn ack(&mut self, channel: &Channel, tags: Vec<u64>) -> Result<(), Trouble> {
        if tags.is_empty() {
            return Ok(());
        }
        let (upto, single) = self.done(tags);
        let all = upto.map(|tag| (tag, true)).into_iter();
        let acks = all.chain(single.into_iter().map(|tag| (tag, false)));
        let written = try_join_all(
            acks.map(|(tag, multiple)| channel.basic_ack(tag, BasicAckOptions { multiple })),
        );
        written.await.map(drop).map_err(|error| Trouble::of(&error))
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
        try_join(all(again, true), all(dead, false))
            .await
            .map(drop)
            .map_err(|error| Trouble::of(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(tags: &[u64]) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for tag in tags {
            unsettled.brought(*tag);
        }
        unsettled
    }

    #[test]
    fn one_word_settles_all_that_nothing_open_lies_before() {
        let mut unsettled = with(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(unsettled.done(vec![2, 1]), (Some(2), vec![]));
        assert_eq!(unsettled.done(vec![5, 4]), (None, vec![4, 5]));
        assert_eq!(unsettled.done(vec![3]), (Some(3), vec![]));
        assert_eq!(unsettled.done(vec![6]), (Some(6), vec![]));
        assert!(unsettled.open.is_empty());
    }

    #[test]
    fn what_another_consumer_has_not_taken_yet_is_not_settled_with_it() {
        let mut unsettled = with(&[2, 4]);
        assert_eq!(unsettled.done(vec![2, 4]), (None, vec![2, 4]));
        unsettled.brought(1);
        assert_eq!(unsettled.done(vec![1]), (Some(1), vec![]));
        unsettled.brought(3);
        unsettled.gone(&[3]);
        unsettled.brought(5);
        assert_eq!(unsettled.done(vec![5]), (Some(5), vec![]));
    }
}
