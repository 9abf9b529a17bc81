//! What becomes of the messages that were brought: deleted or shown again, up to ten in a call, and
//! hidden on while whoever has them is not done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::in_time;
use super::publisher::BATCH_MAX;
use super::topology::Directory;
use super::trouble::Trouble;
use crate::dispatch::due::until;
use crate::dispatch::ticket::Verdict;

/// How long a message is hidden, in seconds, when nobody says more: a process that dies gives back
/// what it had after that.
pub(super) const VISIBLE_AFTER_SECONDS: i32 = 20;
/// How often it is hidden on.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// The longest that a message is kept from coming again, in seconds.
const AGAIN_AFTER_SECONDS_MAX: i32 = 30;
/// How many calls that settle messages may be under way.
const CALLS_MAX: usize = 4;
/// How often it is tried to settle a message; after that it comes again by itself.
const TRIES_MAX: u32 = 5;
/// How long is waited between two tries.
const TRY_AFTER: Duration = Duration::from_secs(1);

/// A message that was brought.
#[derive(Debug)]
pub(super) struct Held {
    url: String,
    handle: String,
    deliveries: u32,
    tries: u32,
    /// What is to become of it, once that is known: how long it is to stay hidden, or never come
    /// again.
    settle: Option<Settle>,
    /// Its room, for another when it is settled.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settle {
    Delete,
    Show { after_seconds: i32 },
}

impl Held {
    pub(super) fn new(
        url: &str,
        handle: String,
        deliveries: u32,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            url: url.to_owned(),
            handle,
            deliveries,
            tries: 0,
            settle: None,
            _room: room,
        }
    }
}

/// All messages that were brought from one queue and are not settled, by number.
#[derive(Debug, Default)]
pub(super) struct Hand(Mutex<(u64, BTreeMap<u64, Held>)>);

impl Hand {
    /// Takes one in and gives it a number.
    pub(super) fn put(&self, held: Held) -> u64 {
        let (next, all) = &mut *self.0.lock();
        *next += 1;
        all.insert(*next, held);
        *next
    }

    /// Decides what is to become of one.
    fn decide(&self, number: u64, settle: impl FnOnce(&Held) -> Settle) {
        if let Some(held) = self.0.lock().1.get_mut(&number) {
            held.settle = Some(settle(held));
        }
    }

    /// One more try failed; whether there may be another.
    fn may_try_again(&self, number: u64) -> bool {
        let (_, all) = &mut *self.0.lock();
        let Some(held) = all.get_mut(&number) else {
            return false;
        };
        held.tries += 1;
        if held.tries < TRIES_MAX {
            return true;
        }
        all.remove(&number);
        false
    }

    fn remove(&self, number: u64) {
        self.0.lock().1.remove(&number);
    }

    /// What a call needs to know of some.
    fn of(&self, numbers: &[u64]) -> Vec<(u64, String, String, Option<Settle>)> {
        let all = &self.0.lock().1;
        numbers
            .iter()
            .filter_map(|number| {
                let held = all.get(number)?;
                Some((*number, held.url.clone(), held.handle.clone(), held.settle))
            })
            .collect()
    }

    fn numbers(&self) -> Vec<u64> {
        self.0.lock().1.keys().copied().collect()
    }
}

/// How long a message that could not be taken is kept from coming again: not at all at first, then
/// longer and longer, so that a queue that counts deliveries does not count up while a database is
/// away.
fn again_after_seconds(deliveries: u32) -> i32 {
    let doublings = deliveries.saturating_sub(3).min(5);
    match deliveries {
        0..=2 => 0,
        _ => AGAIN_AFTER_SECONDS_MAX.min(1 << doublings),
    }
}

/// What a call did.
struct Called {
    numbers: Vec<u64>,
    is_extension: bool,
    answer: Result<Vec<BatchResultErrorEntry>, Trouble>,
}

/// Settles the messages of one queue.
#[derive(Debug)]
pub(super) struct Settling<'a> {
    directory: &'a Directory,
    hand: &'a Hand,
    stop: &'a CancellationToken,
    deletes: VecDeque<u64>,
    shows: VecDeque<u64>,
    /// What failed, and when it is tried again.
    later: VecDeque<(Instant, u64)>,
}

impl<'a> Settling<'a> {
    pub(super) fn new(
        directory: &'a Directory,
        hand: &'a Hand,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            directory,
            hand,
            stop,
            deletes: VecDeque::new(),
            shows: VecDeque::new(),
            later: VecDeque::new(),
        }
    }

    /// Settles until nobody can say anything any more and all that was said is done.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<(u64, Verdict)>) {
        let (mut calls, mut extensions) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut verdicts = Vec::new();
        let mut open = true;
        let mut extend = tokio::time::interval(EXTEND_EVERY);
        extend.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            while calls.len() < CALLS_MAX
                && let Some(batch) = self.next_batch(extensions.is_empty())
            {
                calls.push(call(self.directory, self.hand, batch, false));
            }
            let settled = self.shows.is_empty() && self.later.is_empty();
            if !open && settled && calls.is_empty() {
                return;
            }
            let due = self.later.front().map(|(due, _)| *due);
            tokio::select! {
                taken = told.recv_many(&mut verdicts, usize::MAX), if open => {
                    open = taken > 0;
                    for (number, verdict) in verdicts.drain(..) {
                        self.take(number, verdict);
                    }
                }
                Some(called) = calls.next(), if !calls.is_empty() => self.called(called),
                Some(called) = extensions.next(), if !extensions.is_empty() => self.called(called),
                _ = extend.tick(), if extensions.is_empty() => {
                    for batch in self.hand.numbers().chunks(BATCH_MAX) {
                        extensions.push(call(self.directory, self.hand, batch.to_vec(), true));
                    }
                }
                () = until(due), if due.is_some() => self.try_again(),
            }
        }
    }

    fn take(&mut self, number: u64, verdict: Verdict) {
        let stopped = self.stop.is_cancelled();
        self.hand.decide(number, |held| match verdict {
            Verdict::Done => Settle::Delete,
            // SQS counts, and moves it when it has been shown often enough.
            Verdict::Dead => Settle::Show { after_seconds: 0 },
            // Somebody else may take it.
            Verdict::Again if stopped => Settle::Show { after_seconds: 0 },
            Verdict::Again => Settle::Show {
                after_seconds: again_after_seconds(held.deliveries),
            },
        });
        match verdict {
            Verdict::Done => self.deletes.push_back(number),
            Verdict::Dead | Verdict::Again => self.shows.push_back(number),
        }
    }

    /// All of a batch are deleted or all are shown: they are different calls. What is shown while
    /// others are hidden on could be hidden again by that.
    fn next_batch(&mut self, may_show: bool) -> Option<Vec<u64>> {
        let queue = match (self.deletes.is_empty(), may_show) {
            (false, _) => &mut self.deletes,
            (true, true) => &mut self.shows,
            (true, false) => return None,
        };
        let batch: Vec<u64> = queue.drain(..queue.len().min(BATCH_MAX)).collect();
        (!batch.is_empty()).then_some(batch)
    }

    fn called(&mut self, called: Called) {
        if called.is_extension {
            if let Err(trouble) = called.answer {
                let problem = trouble.words();
                tracing::debug!(problem, "messages could not be hidden on");
            }
            return;
        }
        let failed = match called.answer {
            Ok(failed) => failed,
            Err(trouble) => {
                let problem = trouble.words();
                tracing::debug!(problem, "messages could not be settled");
                for number in called.numbers {
                    self.failed(number);
                }
                return;
            }
        };
        for number in called.numbers {
            let failure = failed.iter().find(|it| it.id == number.to_string());
            match failure {
                None => self.hand.remove(number),
                Some(failure) if failure.sender_fault => {
                    // It is hidden no more: somebody else has it, or it is gone.
                    tracing::debug!(code = failure.code, "a message could not be settled");
                    self.hand.remove(number);
                }
                Some(_) => self.failed(number),
            }
        }
    }

    fn failed(&mut self, number: u64) {
        if self.hand.may_try_again(number) {
            self.later.push_back((Instant::now() + TRY_AFTER, number));
        } else {
            tracing::warn!("a message could not be settled, and comes again");
        }
    }

    fn try_again(&mut self) {
        let now = Instant::now();
        let due = self.later.partition_point(|(due, _)| *due <= now);
        let numbers: Vec<u64> = self.later.drain(..due).map(|(_, number)| number).collect();
        for (number, _, _, settle) in self.hand.of(&numbers) {
            match settle {
                Some(Settle::Delete) => self.deletes.push_back(number),
                Some(Settle::Show { .. }) => self.shows.push_back(number),
                None => {}
            }
        }
    }
}

/// Settles a batch, or hides it on. A queue that was made again has another URL for its messages
/// only where the server says so, so each goes to the one that it came from.
async fn call(directory: &Directory, hand: &Hand, numbers: Vec<u64>, is_extension: bool) -> Called {
    let mut by_url: BTreeMap<String, Vec<(u64, String, Option<Settle>)>> = BTreeMap::new();
    for (number, url, handle, settle) in hand.of(&numbers) {
        // What is decided is not for an extension to change.
        if !is_extension || settle.is_none() {
            let of_url = by_url.entry(url).or_default();
            of_url.push((number, handle, settle));
        }
    }
    let mut failed = Vec::new();
    for (url, held) in by_url {
        match in_time(call_one(directory, &url, held)).await {
            Ok(more) => failed.extend(more),
            Err(trouble) => {
                return Called {
                    numbers,
                    is_extension,
                    answer: Err(trouble),
                };
            }
        }
    }
    Called {
        numbers,
        is_extension,
        answer: Ok(failed),
    }
}

async fn call_one(
    directory: &Directory,
    url: &str,
    held: Vec<(u64, String, Option<Settle>)>,
) -> Result<Vec<BatchResultErrorEntry>, Trouble> {
    let client = directory.access().client().await?;
    let wrong = |error: aws_sdk_sqs::error::BuildError| Trouble::Invalid(error.to_string());
    let (mut deletes, mut shows) = (Vec::new(), Vec::new());
    for (number, handle, settle) in held {
        let after_seconds = match settle {
            Some(Settle::Delete) => {
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(handle);
                deletes.push(entry.build().map_err(wrong)?);
                continue;
            }
            Some(Settle::Show { after_seconds }) => after_seconds,
            None => VISIBLE_AFTER_SECONDS,
        };
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(number.to_string())
            .receipt_handle(handle)
            .visibility_timeout(after_seconds);
        shows.push(entry.build().map_err(wrong)?);
    }
    let mut failed = Vec::new();
    if !deletes.is_empty() {
        let call = client.delete_message_batch().queue_url(url);
        let called = call.set_entries(Some(deletes)).send().await;
        failed.extend(called.map_err(|error| Trouble::of(&error))?.failed);
    }
    if !shows.is_empty() {
        let call = client.change_message_visibility_batch().queue_url(url);
        let called = call.set_entries(Some(shows)).send().await;
        failed.extend(called.map_err(|error| Trouble::of(&error))?.failed);
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_cannot_be_taken_waits_longer_and_longer() {
        let waits: Vec<i32> = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1_000]
            .map(again_after_seconds)
            .to_vec();
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_message_that_cannot_be_settled_is_let_go_after_some_tries() {
        let hand = Hand::default();
        let number = hand.put(Held::new("u", "h".to_owned(), 1, None));
        hand.decide(number, |_| Settle::Delete);
        for _ in 1..TRIES_MAX {
            assert!(hand.may_try_again(number));
        }
        assert_eq!(hand.numbers(), [number]);
        assert!(!hand.may_try_again(number));
        assert!(hand.numbers().is_empty());
    }
}
