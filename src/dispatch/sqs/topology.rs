//! The queues that there must be: made or looked up, and looked at again while they are not as they
//! should be (participants.md, "SQS").

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::{Access, in_time};
use super::names::{check, dead_letters_of, is_fifo};
use super::trouble::Trouble;
use crate::dispatch::back_off::BackOff;
use crate::dispatch::standing::{Part, Standing};

/// How often a command may be delivered before it is a dead letter.
const RECEIVES_MAX: u32 = 5;
/// How often a reply may: as often as SQS has it. A reply is ours to take, and that the database was
/// away is not its fault.
const REPLY_RECEIVES_MAX: u32 = 1_000;
/// How long a message may lie in a queue, in seconds: as long as SQS has it.
const RETENTION_SECONDS: u32 = 1_209_600;
/// What a queue takes that does not say, in bytes.
const BYTES_MAX_DEFAULT: usize = 262_144;
/// How many queues are remembered; more than any deployment has.
const FOUND_MAX: usize = 1_000;
/// How many queues are looked at a time.
const LOOKS_MAX: usize = 8;
/// How often queues that are as they should be are looked at again: an operator may have changed one.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// A queue that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(super) url: String,
    arn: String,
    /// The longest message that it takes.
    pub(super) bytes_max: usize,
    /// Where its dead letters go, and after how many deliveries.
    redrive: Option<(String, u32)>,
}

/// The queues by name, as far as they were found.
#[derive(Debug)]
pub(crate) struct Directory {
    access: Access,
    found: Mutex<HashMap<String, Arc<Queue>>>,
    /// Whether the queues were looked at once: what is not there then is missing.
    looked: watch::Sender<bool>,
}

impl Directory {
    pub(crate) fn new(access: Access) -> Self {
        Self {
            access,
            found: Mutex::new(HashMap::new()),
            looked: watch::Sender::new(false),
        }
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Finds a queue, once the queues were looked at.
    pub(super) async fn find(&self, name: &str) -> Result<Arc<Queue>, Trouble> {
        let mut looked = self.looked.subscribe();
        // The sender is ours, so the wait cannot fail.
        let _looked = looked.wait_for(|looked| *looked).await.is_ok();
        let found = self.found.lock().get(name).cloned();
        match found {
            Some(queue) => Ok(queue),
            None => self.look_up(name).await,
        }
    }

    /// What is known of a queue does not hold any more.
    pub(super) fn forget(&self, name: &str) {
        self.found.lock().remove(name);
    }

    /// How often a message of a queue that was found is delivered before it is dead.
    pub(super) fn receives_max(&self, name: &str) -> Option<u32> {
        let found = self.found.lock();
        let redrive = found.get(name)?.redrive.as_ref();
        redrive.map(|(_, receives_max)| *receives_max)
    }

    async fn look_up(&self, name: &str) -> Result<Arc<Queue>, Trouble> {
        let client = self.access.client().await?;
        let looking = async {
            let answer = client.get_queue_url().queue_name(name).send().await;
            let answer = answer.map_err(|error| Trouble::of(&error))?;
            let url = answer.queue_url.unwrap_or_default();
            let answer = client
                .get_queue_attributes()
                .queue_url(&url)
                .attribute_names(Attribute::QueueArn)
                .attribute_names(Attribute::MaximumMessageSize)
                .attribute_names(Attribute::RedrivePolicy)
                .send()
                .await
                .map_err(|error| Trouble::of(&error))?;
            Ok(Queue::read(url, &answer.attributes.unwrap_or_default()))
        };
        let queue = Arc::new(in_time(looking).await?);
        let mut found = self.found.lock();
        if found.len() >= FOUND_MAX {
            found.clear();
        }
        found.insert(name.to_owned(), Arc::clone(&queue));
        Ok(queue)
    }

    async fn create(&self, name: &str, dead: Option<(&Queue, u32)>) -> Result<(), Trouble> {
        let client = self.access.client().await?;
        let mut creating = client.create_queue().queue_name(name).attributes(
            Attribute::MessageRetentionPeriod,
            RETENTION_SECONDS.to_string(),
        );
        if is_fifo(name) {
            creating = creating.attributes(Attribute::FifoQueue, "true");
        }
        if let Some((dead, receives_max)) = dead {
            // As text, which is how SQS gives the number back.
            let policy = json!({
                "deadLetterTargetArn": dead.arn,
                "maxReceiveCount": receives_max.to_string(),
            });
            creating = creating.attributes(Attribute::RedrivePolicy, policy.to_string());
        }
        let created = async {
            let created = creating.send().await;
            created.map(drop).map_err(|error| Trouble::of(&error))
        };
        in_time(created).await
    }
}

impl Queue {
    fn read(url: String, attributes: &HashMap<Attribute, String>) -> Self {
        let text = |attribute: &Attribute| attributes.get(attribute).map(String::as_str);
        let policy = text(&Attribute::RedrivePolicy).and_then(|it| serde_json::from_str(it).ok());
        Self {
            url,
            arn: text(&Attribute::QueueArn).unwrap_or_default().to_owned(),
            bytes_max: text(&Attribute::MaximumMessageSize)
                .and_then(|it| it.parse().ok())
                .unwrap_or(BYTES_MAX_DEFAULT),
            redrive: policy.as_ref().and_then(redrive),
        }
    }
}

fn redrive(policy: &Value) -> Option<(String, u32)> {
    let target = policy.get("deadLetterTargetArn")?.as_str()?;
    let count = policy.get("maxReceiveCount")?;
    let count = match count.as_str() {
        Some(text) => text.parse().ok(),
        None => count.as_u64().and_then(|count| u32::try_from(count).ok()),
    };
    Some((target.to_owned(), count?))
}

/// One queue with that of its dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    queue: String,
    receives_max: u32,
    /// Whether its dead letters are looked after too.
    with_dead_letters: bool,
}

/// All queues that there must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    pairs: Vec<Pair>,
    /// Whether what is missing is made; else it is only looked up.
    declare: bool,
}

impl Topology {
    /// What the coordinator needs: the queues of the participants, and that of the replies.
    pub(crate) fn of_coordinator(
        replies: &str,
        queues: &[String],
        declare: bool,
    ) -> Result<Self, String> {
        let pair = |queue: &str, receives_max| {
            check(queue).map(|()| Pair {
                queue: queue.to_owned(),
                receives_max,
                with_dead_letters: true,
            })
        };
        let participants = queues.iter().map(|queue| pair(queue, RECEIVES_MAX));
        let pairs = participants
            .chain([pair(replies, REPLY_RECEIVES_MAX)])
            .collect::<Result<_, _>>()?;
        Ok(Self { pairs, declare })
    }

    /// What one participant needs: its own queue.
    pub(crate) fn of_participant(queue: &str, declare: bool) -> Result<Self, String> {
        check(queue)?;
        let pair = Pair {
            queue: queue.to_owned(),
            receives_max: RECEIVES_MAX,
            with_dead_letters: declare,
        };
        Ok(Self {
            pairs: vec![pair],
            declare,
        })
    }

    /// Looks at everything, and makes what is missing where it may. One queue that does not fit hides
    /// no other.
    async fn stand(&self, directory: &Directory) -> Result<(), Trouble> {
        let pairs = self.pairs.iter();
        let looks: Vec<BoxFuture<'_, Result<(), Trouble>>> = pairs
            .map(|pair| self.look_at(directory, pair).boxed())
            .collect();
        let mut looks = futures_util::stream::iter(looks).buffered(LOOKS_MAX);
        let mut misfits = Vec::new();
        while let Some(looked) = looks.next().await {
            match looked {
                Ok(()) => {}
                Err(away @ Trouble::Away(_)) => return Err(away),
                Err(misfit) => misfits.push(misfit.words().to_owned()),
            }
        }
        if misfits.is_empty() {
            return Ok(());
        }
        Err(Trouble::Invalid(misfits.join("; ")))
    }

    async fn look_at(&self, directory: &Directory, pair: &Pair) -> Result<(), Trouble> {
        if !pair.with_dead_letters {
            return self.see(directory, &pair.queue, None).await.map(drop);
        }
        let name = dead_letters_of(&pair.queue);
        let dead = self.see(directory, &name, None).await;
        let wanted = match &dead {
            Ok(dead) => Some((&**dead, pair.receives_max)),
            Err(away @ Trouble::Away(_)) => return Err(away.clone()),
            Err(Trouble::Missing(_) | Trouble::Denied(_) | Trouble::Invalid(_)) => None,
        };
        // Without dead letters it is not made: nothing could be redriven.
        let queue = match (&dead, self.declare) {
            (Err(_), true) => return dead.map(drop),
            (Ok(_), _) | (Err(_), false) => self.see(directory, &pair.queue, wanted).await,
        };
        match (dead, queue) {
            (Ok(dead), Ok(queue)) => fits(&pair.queue, &queue, &name, &dead),
            (Err(one), Ok(_)) | (Ok(_), Err(one)) => Err(one),
            (Err(_), Err(away @ Trouble::Away(_))) => Err(away),
            (Err(one), Err(other)) => Err(Trouble::Invalid(format!("{one}; {other}"))),
        }
    }

    /// Looks at one queue, with what it is made like where it is missing.
    async fn see(
        &self,
        directory: &Directory,
        name: &str,
        dead: Option<(&Queue, u32)>,
    ) -> Result<Arc<Queue>, Trouble> {
        let mut found = directory.look_up(name).await;
        if self.declare && matches!(found, Err(Trouble::Missing(_))) {
            found = match directory.create(name, dead).await {
                Ok(()) => directory.look_up(name).await,
                Err(trouble) => Err(trouble),
            };
        }
        if found.is_err() {
            directory.forget(name);
        }
        found.map_err(|trouble| match trouble {
            Trouble::Away(words) => Trouble::Away(words),
            Trouble::Missing(words) => Trouble::Missing(format!("queue {name}: {words}")),
            Trouble::Denied(words) => Trouble::Denied(format!("queue {name}: {words}")),
            Trouble::Invalid(words) => Trouble::Invalid(format!("queue {name}: {words}")),
        })
    }
}

/// Whether the dead letters of a queue go where they are read.
fn fits(name: &str, queue: &Queue, dead_name: &str, dead: &Queue) -> Result<(), Trouble> {
    match &queue.redrive {
        Some((target, _)) if *target == dead.arn => Ok(()),
        Some(_) | None => Err(Trouble::Invalid(format!(
            "queue {name} does not fit: its redrive policy does not name {dead_name}"
        ))),
    }
}

/// Sees to the queues for ever: at the start, when somebody misses one, and now and then.
pub(crate) async fn keep(
    topology: Topology,
    directory: Arc<Directory>,
    standing: Arc<Standing>,
    stop: CancellationToken,
) {
    let mut back_off = BackOff::new();
    loop {
        let stood = tokio::select! {
            stood = topology.stand(&directory) => stood,
            () = stop.cancelled() => break,
        };
        match &stood {
            Ok(()) => standing.up(Part::Queues),
            Err(trouble) => standing.down(Part::Queues, trouble.words().to_owned()),
        }
        if !matches!(stood, Err(Trouble::Away(_))) {
            directory.looked.send_replace(true);
        }
        if stood.is_ok() {
            tokio::select! {
                () = standing.asked_for_a_look() => {}
                () = tokio::time::sleep(LOOK_EVERY) => back_off.reset(),
                () = stop.cancelled() => break,
            }
        }
        if !back_off.wait(&stop).await {
            break;
        }
    }
    standing.down(Part::Queues, "it was closed".to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(arn: &str, redrive: Option<(&str, u32)>) -> Queue {
        Queue {
            url: String::new(),
            arn: arn.to_owned(),
            bytes_max: 1,
            redrive: redrive.map(|(target, count)| (target.to_owned(), count)),
        }
    }

    #[test]
    fn the_coordinators_queues_are_those_of_the_specification() {
        let queues = ["pay".to_owned(), "ship.fifo".to_owned()];
        let topology = Topology::of_coordinator("shop-replies", &queues, true).unwrap();
        let shown: Vec<(&str, u32)> = topology
            .pairs
            .iter()
            .map(|pair| (pair.queue.as_str(), pair.receives_max))
            .collect();
        let replies = ("shop-replies", REPLY_RECEIVES_MAX);
        assert_eq!(shown, [("pay", 5), ("ship.fifo", 5), replies]);
        assert!(topology.pairs.iter().all(|pair| pair.with_dead_letters));
        assert!(Topology::of_coordinator("a.b", &[], true).is_err());
        assert!(Topology::of_participant("a b", true).is_err());
        let looked = Topology::of_participant("pay", false).unwrap();
        assert!(!looked.pairs[0].with_dead_letters);
    }

    #[test]
    fn attributes_are_read_as_servers_write_them() {
        let read = |pairs: &[(Attribute, &str)]| {
            let of = |(name, value): &(Attribute, &str)| (name.clone(), (*value).to_owned());
            Queue::read("u".to_owned(), &pairs.iter().map(of).collect())
        };
        let bare = read(&[]);
        assert_eq!((bare.bytes_max, bare.redrive), (BYTES_MAX_DEFAULT, None));
        for count in ["5", "\"5\""] {
            let policy = format!("{{\"deadLetterTargetArn\":\"d\",\"maxReceiveCount\":{count}}}");
            let full = read(&[
                (Attribute::QueueArn, "q"),
                (Attribute::MaximumMessageSize, "1024"),
                (Attribute::RedrivePolicy, &policy),
            ]);
            assert_eq!(full.arn, "q");
            assert_eq!(full.bytes_max, 1_024);
            assert_eq!(full.redrive, Some(("d".to_owned(), 5)));
        }
    }

    #[test]
    fn dead_letters_must_go_where_they_are_read() {
        let dead = queue("dead", None);
        assert!(fits("q", &queue("q", Some(("dead", 9))), "q-dlq", &dead).is_ok());
        for redrive in [None, Some(("other", 5))] {
            let trouble = fits("q", &queue("q", redrive), "q-dlq", &dead).unwrap_err();
            let expected = "queue q does not fit: its redrive policy does not name q-dlq";
            assert_eq!(trouble.words(), expected);
        }
    }
}
