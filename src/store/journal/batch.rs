//! What one commit holds: which entries are taken together, and the rows that come of them.

use std::collections::{HashMap, HashSet};

use super::{Entry, Pending, StartKey, SummaryWrite};
use crate::saga::id::SagaId;
use crate::store::AuditRecord;

/// The most entries of one commit.
const BATCH_ENTRIES_MAX: usize = 1_000;
/// The most payload of one commit, unless a single entry has more.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many of the entries that wait go into the next commit.
pub(super) fn length<'a>(waiting: impl Iterator<Item = &'a Pending>) -> usize {
    let mut bytes = 0_usize;
    let mut count = 0;
    for pending in waiting.take(BATCH_ENTRIES_MAX) {
        bytes = bytes.saturating_add(size(&pending.entry));
        if count > 0 && bytes > BATCH_BYTES_MAX {
            break;
        }
        count += 1;
    }
    count
}

/// How much payload an entry has.
fn size(entry: &Entry) -> usize {
    let details = entry.audit.iter().filter_map(|told| told.detail.as_ref());
    entry.transition.events.len() + details.map(String::len).sum::<usize>()
}

/// A start whose key another start of the same batch has, and that start's saga: it learns what
/// becomes of that one.
pub(super) struct Follower {
    pub(super) pending: Pending,
    pub(super) leader: SagaId,
}

/// Takes the starts out whose key an earlier one of the batch has.
pub(super) fn part_followers(batch: Vec<Pending>) -> (Vec<Pending>, Vec<Follower>) {
    let mut leaders: HashMap<String, SagaId> = HashMap::new();
    let mut own = Vec::with_capacity(batch.len());
    let mut followers = Vec::new();
    for pending in batch {
        let saga = pending.entry.saga;
        let leader = match start_key(&pending) {
            Some(key) => *leaders.entry(key.key.clone()).or_insert(saga),
            None => saga,
        };
        if leader == saga {
            own.push(pending);
        } else {
            followers.push(Follower { pending, leader });
        }
    }
    (own, followers)
}

fn start_key(pending: &Pending) -> Option<&StartKey> {
    pending
        .entry
        .start
        .as_ref()
        .and_then(|start| start.key.as_ref())
}

/// A summary to be written, with what comes from elsewhere in the entries.
pub(super) struct Summary<'a> {
    pub(super) saga: SagaId,
    pub(super) shard: u16,
    pub(super) last_seq: u64,
    pub(super) write: &'a SummaryWrite,
    /// JSON, where there are any.
    pub(super) labels: Option<String>,
}

/// The rows of a batch.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) entries: Vec<&'a Pending>,
    /// One for each saga: of several in a batch the last.
    pub(super) summaries: Vec<Summary<'a>>,
    pub(super) labels: Vec<(&'a str, &'a str, SagaId)>,
    pub(super) keys: Vec<(&'a StartKey, SagaId)>,
    /// What happened first comes first, and is numbered so.
    pub(super) audit: Vec<(&'a AuditRecord, SagaId)>,
    /// What goes out of the inbox.
    pub(super) inbox: Vec<i64>,
}

impl<'a> Rows<'a> {
    /// The rows of these entries, but for those of the sagas to `skip`.
    pub(super) fn of(batch: &'a [Pending], skip: &HashSet<SagaId>) -> Self {
        let mut rows = Self {
            entries: Vec::with_capacity(batch.len()),
            ..Self::default()
        };
        let mut places: HashMap<SagaId, usize> = HashMap::new();
        for pending in batch {
            let entry = &pending.entry;
            if !skip.is_empty() && skip.contains(&entry.saga) {
                continue;
            }
            rows.entries.push(pending);
            rows.inbox.extend(entry.inbox.map(|id| id.0));
            rows.audit
                .extend(entry.audit.iter().map(|record| (record, entry.saga)));
            let mut labels = None;
            if let Some(start) = &entry.start {
                rows.keys
                    .extend(start.key.as_ref().map(|key| (key, entry.saga)));
                let named = start.labels.iter();
                rows.labels
                    .extend(named.map(|(n, v)| (n.as_str(), v.as_str(), entry.saga)));
                if !start.labels.is_empty() {
                    labels = serde_json::to_string(&start.labels).ok();
                }
            }
            let Some(write) = &entry.summary else {
                continue;
            };
            let last_seq = entry.transition.seq + u64::from(entry.transition.count.max(1)) - 1;
            let place = *places.entry(entry.saga).or_insert(rows.summaries.len());
            match rows.summaries.get_mut(place) {
                Some(summary) => {
                    summary.write = write;
                    summary.last_seq = last_seq;
                }
                None => rows.summaries.push(Summary {
                    saga: entry.saga,
                    shard: entry.shard,
                    last_seq,
                    write,
                    labels,
                }),
            }
        }
        rows
    }

    /// How many rows they are.
    pub(super) fn count(&self) -> usize {
        let told = self.audit.len();
        self.entries.len() + self.summaries.len() + self.labels.len() + self.keys.len() + told
    }

    /// How many facts they hold.
    pub(super) fn events(&self) -> u64 {
        self.entries
            .iter()
            .map(|pending| u64::from(pending.entry.transition.count))
            .sum()
    }
}
