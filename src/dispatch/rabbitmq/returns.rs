//! Which publish a returned message belongs to.
//!
//! The server sends a message back before it confirms it, but not right before: other confirms may
//! come between, and one confirm may stand for many. The client library hangs what came back on
//! whichever confirm it completes next, in no order where one stands for many. So a confirm that
//! brings a message is looked at by the message, and one that brings another's message does not
//! know its own fate yet: its own message may be hung on a later one.
//!
//! What makes it decidable: a message that came back is hung on *some* confirm no later than its own
//! publish's completion plus what was waiting before it, and a confirm that brings nothing was
//! completed when nothing waited. Confirms are therefore taken in batches, each with all that was
//! completed before its members.

use std::collections::HashMap;

/// What a publish is known by in what comes back: its routing key and its message's id.
pub(super) type Key = (String, String);

/// The completed confirm of one publish.
#[derive(Debug)]
pub(super) struct Completed {
    /// Which publish.
    pub(super) number: u64,
    /// What its message would be known by if it came back.
    pub(super) key: Key,
    /// The message that was hung on the confirm, and why it came back.
    pub(super) brought: Option<(Key, String)>,
}

/// What became of a publish that was confirmed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A queue has it.
    Routed,
    /// It came back, for this reason.
    Returned(String),
}

/// What came back and is not matched yet, of one channel.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// Messages that came back and whose publish is not completed yet.
    owed: HashMap<Key, Vec<String>>,
    /// Completed publishes that brought another's message.
    doubtful: Vec<(u64, Key)>,
}

impl Returns {
    /// Whether every publish that is completed without a message knows its fate: a queue has it.
    pub(super) fn is_settled(&self) -> bool {
        self.owed.is_empty() && self.doubtful.is_empty()
    }

    /// Takes a batch, and tells what is known now. The batch must hold everything that was completed
    /// before any of its members and was not in an earlier one.
    pub(super) fn take(&mut self, batch: Vec<Completed>) -> Vec<(u64, Fate)> {
        let mut fates = Vec::with_capacity(batch.len());
        // Nothing waited when one of these was completed, so nothing waits for those before it.
        let empty = batch.iter().any(|completed| completed.brought.is_none());
        let mut open = Vec::new();
        let before = std::mem::take(&mut self.doubtful);
        for completed in batch {
            let doubt = completed.brought.is_some();
            if let Some((key, why)) = completed.brought {
                self.owed.entry(key).or_default().push(why);
            }
            open.push((completed.number, completed.key, doubt));
        }
        let old = before
            .into_iter()
            .map(|(number, key)| (number, key, !empty));
        for (number, key, doubt) in old.chain(open) {
            match self.redeem(&key) {
                Some(why) => fates.push((number, Fate::Returned(why))),
                None if doubt => self.doubtful.push((number, key)),
                None => fates.push((number, Fate::Routed)),
            }
        }
        if self.owed.is_empty() {
            let routed = self.doubtful.drain(..);
            fates.extend(routed.map(|(number, _)| (number, Fate::Routed)));
        }
        fates
    }

    fn redeem(&mut self, key: &Key) -> Option<String> {
        let owed = self.owed.get_mut(key)?;
        let why = owed.pop();
        if owed.is_empty() {
            self.owed.remove(key);
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// What the server and the client library do: `orders` says which publishes are completed, in
    /// which order; each message that is to come back has done so before its own is completed.
    fn completed(orders: &[u64], returned: &dyn Fn(u64) -> bool, ahead: usize) -> Vec<Completed> {
        let mut waiting: VecDeque<u64> = VecDeque::new();
        let mut came_back = 0;
        let mut all = Vec::new();
        for (at, number) in orders.iter().enumerate() {
            let until = (at + 1 + ahead).min(orders.len());
            while came_back < until {
                waiting.extend(orders.get(came_back).filter(|number| returned(**number)));
                came_back += 1;
            }
            all.push(Completed {
                number: *number,
                key: key(*number),
                brought: waiting.pop_front().map(|it| (key(it), format!("no {it}"))),
            });
        }
        all
    }

    fn key(number: u64) -> Key {
        ("queue".to_owned(), number.to_string())
    }

    proptest! {
        #[test]
        fn every_publish_is_told_its_own_fate(
            orders in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(),
            fates in proptest::collection::vec(any::<bool>(), 40),
            ahead in 0..10_usize,
            sizes in proptest::collection::vec(1..6_usize, 40),
        ) {
            let returned = |number: u64| fates[usize::try_from(number).unwrap()];
            let mut all = completed(&orders, &returned, ahead).into_iter();
            let mut returns = Returns::default();
            let mut told = HashMap::new();
            for size in sizes {
                let batch: Vec<Completed> = all.by_ref().take(size).collect();
                for (number, fate) in returns.take(batch) {
                    prop_assert!(told.insert(number, fate).is_none(), "{} is told twice", number);
                }
            }
            prop_assert!(all.next().is_none());
            for number in orders {
                let expected = if returned(number) {
                    Fate::Returned(format!("no {number}"))
                } else {
                    Fate::Routed
                };
                prop_assert_eq!(told.get(&number), Some(&expected), "{}", number);
            }
        }
    }

    #[test]
    fn a_publish_that_brought_another_message_waits_until_it_knows() {
        let mut returns = Returns::default();
        let brought = |number| Some((key(number), "no queue".to_owned()));
        let completed = |number, brought| Completed {
            number,
            key: key(number),
            brought,
        };
        assert_eq!(returns.take(vec![completed(1, brought(2))]), []);
        let fates = returns.take(vec![completed(2, None)]);
        let returned = Fate::Returned("no queue".to_owned());
        assert_eq!(fates, [(1, Fate::Routed), (2, returned)]);
    }
}
