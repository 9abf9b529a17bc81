//! Messages that nobody could take, each kept whole as a row, and what a person made of it.
//!
//! A letter is open, then replayed or discarded; nothing but that ever changes in it, and none is
//! deleted. It settles in the transaction that audits it.

mod list;
mod read;

use std::fmt;
use std::str::FromStr;

use sea_orm::{ConnectionTrait, TransactionTrait, Value};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use uuid::{NoContext, Timestamp as UuidTime, Uuid};

pub use list::{DeadLetterFilter, DeadLetterPage};
pub use read::{DeadLetter, DeadLetterCount};

use super::dialect::{column, marks};
use super::{AuditRecord, Store, StoreError, audit};
use crate::definition::request::Phase;
use crate::saga::id::{SagaId, Timestamp};

/// The header that says which replay of a dead letter a message is. A letter that was replayed and
/// died again brings it back.
pub const REPLAY_HEADER: &str = "amends-replay";

/// The id of a dead letter, a UUIDv7 of the time at which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeadLetterId(pub Uuid);

impl fmt::Display for DeadLetterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for DeadLetterId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// What a dead letter came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RabbitMQ.
    RabbitMq,
    /// SQS, or what speaks its protocol.
    Sqs,
}

impl Transport {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::RabbitMq, Self::Sqs];

    /// The word on the wire and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq",
            Self::Sqs => "sqs",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadLetterStatus {
    /// Nobody has looked after it yet.
    Open,
    /// Sent again to where it was going.
    Replayed,
    /// Closed with a reason.
    Discarded,
}

impl DeadLetterStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Open, Self::Replayed, Self::Discarded];

    /// The word on the wire and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

/// A message that nobody could take, to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewDeadLetter<'a> {
    /// What it came through.
    pub transport: Transport,
    /// The queue that it was going to.
    pub queue: &'a str,
    /// Whose queue that is, where it is a participant's.
    pub participant: Option<&'a str>,
    /// Why nobody could take it.
    pub reason: &'a str,
    /// How often it was delivered.
    pub deliveries: u32,
    /// When it came here.
    pub received_at: Timestamp,
    /// The saga that it is about.
    pub saga: Option<SagaId>,
    /// The step.
    pub step: Option<&'a str>,
    /// Which of the step's two calls.
    pub phase: Option<Phase>,
    /// Its own id.
    pub message_id: Option<&'a str>,
    /// All of it.
    pub message: &'a [u8],
    /// What came beside it.
    pub headers: &'a Map<String, Json>,
    /// Whether the broker may have brought it before: it is then looked for among those that are
    /// open.
    pub redelivered: bool,
}

/// What keeping a dead letter came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was not there before.
    New(DeadLetterId),
    /// It was kept before, and its broker did not learn of it.
    Same(DeadLetterId),
}

impl Kept {
    /// The letter.
    #[must_use]
    pub fn id(self) -> DeadLetterId {
        match self {
            Self::New(id) | Self::Same(id) => id,
        }
    }
}

/// What becomes of an open letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was sent again.
    Replayed,
    /// It is closed.
    Discarded {
        /// Why.
        reason: String,
    },
}

/// The columns of a letter that is new.
const NEW_COLUMNS: &str = "id, received_at, deliveries, replays, saga_id, digest, status, \
    transport, phase, queue, participant, reason, step, message_id, headers, message";
/// How many they are.
const NEW_COLUMNS_COUNT: usize = 16;

impl NewDeadLetter<'_> {
    /// What makes it the same letter when it comes again. A replay that dies is another one.
    fn digest(&self) -> [u8; 32] {
        let replay = replays(self.headers).to_be_bytes();
        let parts: [&[u8]; 4] = [
            self.transport.as_str().as_bytes(),
            self.queue.as_bytes(),
            &replay,
            self.message,
        ];
        let mut digest = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts are the same bytes.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn values(&self, id: DeadLetterId, digest: &[u8]) -> Vec<Value> {
        let text = |text: Option<&str>| Value::String(text.map(|text| Box::new(storable(text))));
        vec![
            id.0.into(),
            self.received_at.0.into(),
            i64::from(self.deliveries).into(),
            i64::from(replays(self.headers)).into(),
            Value::Uuid(self.saga.map(|saga| Box::new(saga.0))),
            digest.to_vec().into(),
            DeadLetterStatus::Open.as_str().into(),
            self.transport.as_str().into(),
            text(self.phase.map(Phase::as_str)),
            self.queue.into(),
            text(self.participant),
            storable(self.reason).into(),
            text(self.step),
            text(self.message_id),
            Json::Object(self.headers.clone()).to_string().into(),
            self.message.to_vec().into(),
        ]
    }
}

/// Which replay a message is, by its headers; 0 is none. Some brokers give back texts only, and
/// some keep the headers of applications apart.
fn replays(headers: &Map<String, Json>) -> u32 {
    let apart = headers.get("headers").and_then(Json::as_object);
    let header = [Some(headers), apart]
        .into_iter()
        .flatten()
        .find_map(|headers| headers.get(REPLAY_HEADER));
    let number = header.and_then(|header| match header.as_str() {
        Some(text) => text.parse().ok(),
        None => header.as_u64(),
    });
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}

/// A text as the databases can hold it: PostgreSQL's cannot have the character NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A new id for what came at this moment; of one millisecond they are in no order.
fn id_at(at: Timestamp) -> DeadLetterId {
    let ms = u64::try_from(at.0).unwrap_or(0);
    let nanos = u32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0);
    DeadLetterId(Uuid::new_v7(UuidTime::from_unix(
        NoContext,
        ms / 1_000,
        nanos,
    )))
}

impl Store {
    /// Keeps a message that nobody could take. One that was brought before and is open is that one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; [`StoreError::Refused`] when it will
    /// not have this one, for example because it is too long for it.
    pub async fn keep_dead_letter(&self, new: &NewDeadLetter<'_>) -> Result<Kept, StoreError> {
        let digest = new.digest();
        if new.redelivered
            && let Some(id) = self.open_letter(&digest).await?
        {
            return Ok(Kept::Same(id));
        }
        let id = id_at(new.received_at);
        let marks = marks(NEW_COLUMNS_COUNT);
        let sql = format!("INSERT INTO dead_letters ({NEW_COLUMNS}) VALUES ({marks})");
        let statement = self.backend.statement(&sql, new.values(id, &digest));
        self.db.execute(statement).await?;
        Ok(Kept::New(id))
    }

    async fn open_letter(&self, digest: &[u8]) -> Result<Option<DeadLetterId>, StoreError> {
        let sql = "SELECT id FROM dead_letters \
                   WHERE digest = ? AND status = 'open' ORDER BY id LIMIT 1";
        let statement = self.backend.statement(sql, vec![digest.to_vec().into()]);
        match self.db.query_one(statement).await? {
            Some(row) => Ok(Some(DeadLetterId(column(&row, "id")?))),
            None => Ok(None),
        }
    }

    /// Settles an open letter, by the record's actor and at its time; the record is written with
    /// it. `false` when it is not open (or not there): nothing has changed then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; nothing has changed then.
    pub async fn settle_dead_letter(
        &self,
        id: DeadLetterId,
        settlement: &Settlement,
        record: &AuditRecord,
    ) -> Result<bool, StoreError> {
        let (status, note, replays) = match settlement {
            Settlement::Replayed => (DeadLetterStatus::Replayed, None, 1_i64),
            Settlement::Discarded { reason } => {
                (DeadLetterStatus::Discarded, Some(reason.clone()), 0)
            }
        };
        let sql = "UPDATE dead_letters \
                   SET status = ?, settled_at = ?, settled_by = ?, note = ?, replays = replays + ? \
                   WHERE id = ? AND status = 'open'";
        let values: Vec<Value> = vec![
            status.as_str().into(),
            record.at.0.into(),
            record.actor.as_str().into(),
            note.into(),
            replays.into(),
            id.0.into(),
        ];
        let transaction = self.db.begin().await?;
        let statement = self.backend.statement(sql, values);
        let was_open = transaction.execute(statement).await?.rows_affected() == 1;
        if was_open {
            let record = std::slice::from_ref(record);
            audit::write(&transaction, self.backend, self.audit, record).await?;
        }
        transaction.commit().await?;
        Ok(was_open)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(headers: Json) -> Map<String, Json> {
        headers.as_object().unwrap().clone()
    }

    #[test]
    fn the_number_of_a_replay_is_found_wherever_a_broker_puts_it() {
        for (found, number) in [
            (json!({}), 0),
            (json!({ "amends-replay": "2" }), 2),
            (json!({ "amends-replay": 3 }), 3),
            (json!({ "headers": { "amends-replay": "4" } }), 4),
            (json!({ "headers": "none", "amends-replay": null }), 0),
            (json!({ "amends-replay": "-1" }), 0),
            (json!({ "amends-replay": 4_294_967_296_u64 }), 0),
        ] {
            assert_eq!(replays(&headers(found.clone())), number, "{found}");
        }
    }

    #[test]
    fn a_letter_is_the_same_by_what_it_is_and_not_by_when() {
        let none = Map::new();
        let again = headers(json!({ "amends-replay": "1" }));
        let base = NewDeadLetter {
            transport: Transport::RabbitMq,
            queue: "pay",
            participant: None,
            reason: "rejected",
            deliveries: 1,
            received_at: Timestamp(1),
            saga: None,
            step: None,
            phase: None,
            message_id: None,
            message: b"x",
            headers: &none,
            redelivered: false,
        };
        let later = NewDeadLetter {
            received_at: Timestamp(2),
            deliveries: 7,
            redelivered: true,
            ..base
        };
        assert_eq!(base.digest(), later.digest());
        let others = [
            NewDeadLetter {
                transport: Transport::Sqs,
                ..base
            },
            NewDeadLetter {
                queue: "payx",
                message: b"",
                ..base
            },
            NewDeadLetter {
                message: b"y",
                ..base
            },
            NewDeadLetter {
                headers: &again,
                ..base
            },
        ];
        for other in others {
            assert_ne!(other.digest(), base.digest(), "{other:?}");
        }
    }

    #[test]
    fn ids_say_when_a_letter_came() {
        let at = Timestamp(1_795_253_400_123);
        let id = id_at(at).0;
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.as_u128() >> 80, 1_795_253_400_123);
        assert_eq!(id_at(Timestamp(-5)).0.as_u128() >> 80, 0);
        assert_ne!(id_at(at), id_at(at));
    }
}
