//! Gives messages to SQS, up to ten at a time where several wait, until it has each for good.
//!
//! One task keeps a lane for every queue: what waits for it, and how many batches are under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::in_time;
use super::messages::Message;
use super::topology::Directory;
use super::trouble::Trouble;
use crate::dispatch::back_off::BackOff;
use crate::dispatch::broker::{Outgoing, Published};
use crate::dispatch::due::until;
use crate::dispatch::standing::{Part, Standing};

/// How many messages a batch may have.
pub(super) const BATCH_MAX: usize = 10;
/// How long a batch of several may be: what the least of the servers takes.
const BATCH_BYTES_MAX: usize = 262_144;
/// How many batches may be under way to one queue.
const BATCHES_MAX: usize = 8;
/// How many messages may wait for their turn; whoever comes then waits for room.
const WAITING_MAX: usize = 2_048;

/// The end of the publisher that others hold.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    jobs: mpsc::Sender<Job>,
}

/// A message, and whoever wants to know what became of it.
#[derive(Debug)]
struct Job {
    message: Message,
    /// A batch that it was in was refused whole: it goes alone.
    alone: bool,
    tell: oneshot::Sender<Published>,
}

impl Publisher {
    /// Publishes in the background until `stop`.
    pub(crate) fn start(
        directory: Arc<Directory>,
        standing: Arc<Standing>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (jobs, taken) = mpsc::channel(BATCH_MAX);
        let publishing = Publishing {
            directory,
            standing,
            stop,
            jobs: taken,
            lanes: BTreeMap::new(),
            waiting: 0,
        };
        tasks.spawn(publishing.run());
        Self { jobs }
    }

    /// Gives a message to its queue, again and again until SQS says that it has it or will not. Ends
    /// never once the publisher was stopped.
    pub(crate) async fn publish(&self, outgoing: &Outgoing) -> Published {
        let message = match Message::of(outgoing) {
            Ok(message) => message,
            Err(why) => return Published::Refused(why),
        };
        let (tell, told) = oneshot::channel();
        let job = Job {
            message,
            alone: false,
            tell,
        };
        if self.jobs.send(job).await.is_ok()
            && let Ok(published) = told.await
        {
            return published;
        }
        std::future::pending().await
    }
}

/// What became of one message of a batch.
enum Fate {
    Told(Published),
    /// It is to be sent again.
    Again,
    /// Somebody's message spoilt the batch.
    Alone,
}

/// What became of a batch.
struct Ended {
    queue: String,
    groups: Vec<String>,
    fates: Vec<(Job, Fate)>,
    /// Why some of it is to wait.
    trouble: Option<String>,
}

/// One queue.
#[derive(Debug)]
struct Lane {
    waiting: VecDeque<Job>,
    batches: usize,
    /// The groups that have a message under way. A group has one at a time, so that what is sent
    /// again is not overtaken.
    groups: BTreeSet<String>,
    back_off: BackOff,
    /// When it may go on.
    resume: Option<Instant>,
    /// What is wrong, while what waits is to be sent again.
    trouble: Option<String>,
}

impl Lane {
    fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            batches: 0,
            groups: BTreeSet::new(),
            back_off: BackOff::new(),
            resume: None,
            trouble: None,
        }
    }

    /// The messages that may go now, in the order that they came.
    fn batch(&mut self) -> Vec<Job> {
        let (mut batch, mut left) = (Vec::new(), VecDeque::new());
        let (mut bytes, mut held) = (0, BTreeSet::new());
        let mut full = false;
        while let Some(job) = self.waiting.pop_front() {
            if full || batch.len() == BATCH_MAX {
                left.push_back(job);
                break;
            }
            let length = job.message.bytes();
            let group = job.message.order.as_ref().map(|order| &order.group);
            let is_held = group.is_some_and(|it| self.groups.contains(it) || held.contains(it));
            let fits = batch.is_empty() || (!job.alone && bytes + length <= BATCH_BYTES_MAX);
            if is_held || !fits {
                held.extend(group.cloned());
                left.push_back(job);
                continue;
            }
            bytes += length;
            full = job.alone;
            self.groups.extend(group.cloned());
            batch.push(job);
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        batch
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.batches == 0
    }
}

/// The publisher's task.
struct Publishing {
    directory: Arc<Directory>,
    standing: Arc<Standing>,
    stop: CancellationToken,
    jobs: mpsc::Receiver<Job>,
    lanes: BTreeMap<String, Lane>,
    /// How many messages wait in all lanes.
    waiting: usize,
}

impl Publishing {
    async fn run(mut self) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, Ended>> = FuturesUnordered::new();
        let stop = self.stop.clone();
        let mut new = Vec::new();
        loop {
            self.start(&mut under_way);
            let room = WAITING_MAX.saturating_sub(self.waiting);
            let resume = self.lanes.values().filter_map(|lane| lane.resume).min();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ended) = under_way.next(), if !under_way.is_empty() => self.end(ended),
                taken = self.jobs.recv_many(&mut new, room), if room > 0 => {
                    if taken == 0 {
                        return;
                    }
                    for job in new.drain(..) {
                        self.waiting += 1;
                        self.lane(job.message.queue.clone()).waiting.push_back(job);
                    }
                }
                () = until(resume), if resume.is_some() => {}
            }
        }
    }

    fn lane(&mut self, queue: String) -> &mut Lane {
        self.lanes.entry(queue).or_insert_with(Lane::new)
    }

    /// Starts every batch that may be under way.
    fn start(&mut self, under_way: &mut FuturesUnordered<BoxFuture<'static, Ended>>) {
        let now = Instant::now();
        for (queue, lane) in &mut self.lanes {
            if lane.resume.is_some_and(|resume| resume > now) {
                continue;
            }
            lane.resume = None;
            let before = lane.waiting.len();
            // Whoever gave up does not need it sent.
            lane.waiting.retain(|job| !job.tell.is_closed());
            while lane.batches < BATCHES_MAX {
                let jobs = lane.batch();
                if jobs.is_empty() {
                    break;
                }
                lane.batches += 1;
                let directory = Arc::clone(&self.directory);
                under_way.push(Box::pin(send(directory, queue.clone(), jobs)));
            }
            self.waiting -= before - lane.waiting.len();
        }
        // Where nobody waits any more, nothing is known to be wrong.
        let before = self.lanes.len();
        self.lanes
            .retain(|_, lane| !lane.is_idle() || lane.resume.is_some());
        if self.lanes.len() < before {
            self.tell();
        }
    }

    /// Says what is wrong with any lane.
    fn tell(&self) {
        let mut troubles = self.lanes.values().filter_map(|lane| lane.trouble.clone());
        match troubles.next() {
            Some(trouble) => self.standing.down(Part::Publishing, trouble),
            None => self.standing.up(Part::Publishing),
        }
    }

    fn end(&mut self, ended: Ended) {
        let mut missing = false;
        let mut waiting = 0;
        let Some(lane) = self.lanes.get_mut(&ended.queue) else {
            return;
        };
        lane.batches -= 1;
        for group in &ended.groups {
            lane.groups.remove(group);
        }
        // In front of those that came later, in their own order.
        for (mut job, fate) in ended.fates.into_iter().rev() {
            match fate {
                Fate::Told(published) => {
                    missing |= matches!(published, Published::Returned(_));
                    // Nobody waits for it any more.
                    let _told = job.tell.send(published).is_ok();
                    continue;
                }
                Fate::Again => {}
                Fate::Alone => job.alone = true,
            }
            lane.waiting.push_front(job);
            waiting += 1;
        }
        match &ended.trouble {
            Some(_) => lane.resume = Some(Instant::now() + lane.back_off.next()),
            None => lane.back_off.reset(),
        }
        let changed = lane.trouble != ended.trouble;
        lane.trouble = ended.trouble;
        self.waiting += waiting;
        if changed {
            self.tell();
        }
        if missing {
            self.directory.forget(&ended.queue);
            self.standing.ask_for_a_look();
        }
    }
}

/// Sends a batch once.
async fn send(directory: Arc<Directory>, queue: String, jobs: Vec<Job>) -> Ended {
    let groups = jobs
        .iter()
        .filter_map(|job| Some(job.message.order.as_ref()?.group.clone()))
        .collect();
    let found = match directory.find(&queue).await {
        Ok(found) => found,
        Err(trouble) => return ended(queue, groups, jobs, &trouble),
    };
    let (mut fates, mut sent) = (Vec::new(), Vec::new());
    // Until the queues were looked at somebody may have given up.
    for job in jobs.into_iter().filter(|job| !job.tell.is_closed()) {
        let (bytes, bytes_max) = (job.message.bytes(), found.bytes_max);
        if bytes > bytes_max {
            let told = Published::TooLarge { bytes, bytes_max };
            fates.push((job, Fate::Told(told)));
        } else {
            sent.push(job);
        }
    }
    let answered = match sent.is_empty() {
        true => Ok(Answer::default()),
        false => in_time(call(&directory, &found.url, &sent)).await,
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(trouble) => {
            let mut ended = ended(queue, groups, sent, &trouble);
            ended.fates.append(&mut fates);
            return ended;
        }
    };
    let mut trouble = None;
    for (number, job) in sent.into_iter().enumerate() {
        let fate = match answer.get(&number.to_string()) {
            Some(Ok(())) => Fate::Told(Published::Confirmed),
            Some(Err(Trouble::Missing(why))) => Fate::Told(Published::Returned(why.clone())),
            Some(Err(Trouble::Denied(why) | Trouble::Invalid(why))) => {
                Fate::Told(Published::Refused(why.clone()))
            }
            Some(Err(Trouble::Away(why))) => {
                trouble = Some(why.clone());
                Fate::Again
            }
            None => {
                trouble = Some("it does not say what became of a message".to_owned());
                Fate::Again
            }
        };
        fates.push((job, fate));
    }
    Ended {
        queue,
        groups,
        fates,
        trouble,
    }
}

/// What is said of each message, by its id in the batch.
type Answer = BTreeMap<String, Result<(), Trouble>>;

async fn call(directory: &Directory, url: &str, jobs: &[Job]) -> Result<Answer, Trouble> {
    let client = directory.access().client().await?;
    let entries = jobs.iter().enumerate();
    let entries = entries
        .map(|(number, job)| job.message.entry(number.to_string()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Trouble::Invalid)?;
    let sending = client
        .send_message_batch()
        .queue_url(url)
        .set_entries(Some(entries));
    let sent = sending.send().await.map_err(|error| Trouble::of(&error))?;
    let good = sent.successful.iter().map(|it| (it.id.clone(), Ok(())));
    let bad = sent.failed.iter().map(|it| {
        let status = if it.sender_fault { 400 } else { 500 };
        let trouble = Trouble::said(status, &it.code, it.message.as_deref());
        (it.id.clone(), Err(trouble))
    });
    Ok(good.chain(bad).collect())
}

/// A call that failed whole.
fn ended(queue: String, groups: Vec<String>, jobs: Vec<Job>, trouble: &Trouble) -> Ended {
    let several = jobs.len() > 1;
    let fate = |job: &Job| match trouble {
        Trouble::Away(_) => Fate::Again,
        Trouble::Missing(why) => Fate::Told(Published::Returned(why.clone())),
        Trouble::Invalid(_) if several && !job.alone => Fate::Alone,
        Trouble::Denied(why) | Trouble::Invalid(why) => Fate::Told(Published::Refused(why.clone())),
    };
    let fates = jobs.into_iter().map(|job| {
        let fate = fate(&job);
        (job, fate)
    });
    Ended {
        fates: fates.collect(),
        queue,
        groups,
        trouble: match trouble {
            Trouble::Away(why) => Some(why.clone()),
            Trouble::Missing(_) | Trouble::Denied(_) | Trouble::Invalid(_) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Map;

    use super::*;

    fn job(queue: &str, group: &str, length: usize, alone: bool) -> Job {
        let outgoing = Outgoing {
            queue: queue.to_owned(),
            id: group.to_owned(),
            correlation_id: None,
            group: group.to_owned(),
            kind: String::new(),
            reply_to: None,
            headers: Map::new(),
            body: Bytes::from("x".repeat(length)),
            replay: 0,
        };
        Job {
            message: Message::of(&outgoing).unwrap(),
            alone,
            tell: oneshot::channel().0,
        }
    }

    fn lane(jobs: impl IntoIterator<Item = Job>) -> Lane {
        let mut lane = Lane::new();
        lane.waiting.extend(jobs);
        lane
    }

    fn lengths(jobs: &[Job]) -> Vec<usize> {
        jobs.iter().map(|job| job.message.bytes()).collect()
    }

    #[test]
    fn a_batch_is_of_ten_and_no_longer_than_servers_take() {
        let mut ten = lane((1..=12).map(|length| job("q", "g", length, false)));
        assert_eq!(lengths(&ten.batch()), (1..=10).collect::<Vec<_>>());
        assert_eq!(lengths(&ten.batch()), [11, 12]);
        assert!(ten.batch().is_empty());

        let long = BATCH_BYTES_MAX - 5;
        let mut long = lane([long, 6, 5, 300_000].map(|length| job("q", "g", length, false)));
        assert_eq!(lengths(&long.batch()), [BATCH_BYTES_MAX - 5, 5]);
        assert_eq!(lengths(&long.batch()), [6]);
        assert_eq!(lengths(&long.batch()), [300_000]);
    }

    #[test]
    fn what_spoilt_a_batch_goes_alone() {
        let mut lane = lane([
            job("q", "g", 1, false),
            job("q", "g", 2, true),
            job("q", "g", 3, true),
            job("q", "g", 4, false),
        ]);
        assert_eq!(lengths(&lane.batch()), [1, 4]);
        assert_eq!(lengths(&lane.batch()), [2]);
        assert_eq!(lengths(&lane.batch()), [3]);
        assert!(lane.is_idle());
    }

    #[test]
    fn a_group_of_a_fifo_queue_has_one_message_under_way() {
        let mut lane = lane([
            job("q.fifo", "a", 1, false),
            job("q.fifo", "a", 2, false),
            job("q.fifo", "b", 3, false),
            job("q.fifo", "a", 4, false),
        ]);
        assert_eq!(lengths(&lane.batch()), [1, 3]);
        assert!(lane.batch().is_empty());
        lane.groups.remove("a");
        assert_eq!(lengths(&lane.batch()), [2]);
        lane.groups.clear();
        assert_eq!(lengths(&lane.batch()), [4]);
    }
}
