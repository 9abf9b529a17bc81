//! Messages that nobody could take, kept whole.

use sea_orm_migration::prelude::*;

use crate::dialect::{Index, Table, create};

/// Creates `dead_letters`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, &DEAD_LETTERS).await
    }
}

/// Ids are UUIDv7 of the time at which the letter came: the primary key is the order of lists, and
/// a range of times one of ids. What stands in a message has no bound that we know of, so what is
/// taken out of it is text of any length and in no index.
const DEAD_LETTERS: Table = Table {
    name: "dead_letters",
    columns: "id {uuid} NOT NULL PRIMARY KEY, \
        received_at bigint NOT NULL, \
        settled_at bigint, \
        deliveries bigint NOT NULL, \
        replays bigint NOT NULL, \
        saga_id {uuid}, \
        digest {digest} NOT NULL, \
        status {word} NOT NULL, \
        transport {word} NOT NULL, \
        phase {word}, \
        queue {name} NOT NULL, \
        participant {name}, \
        settled_by {name}, \
        reason {text} NOT NULL, \
        step {text}, \
        message_id {text}, \
        headers {text} NOT NULL, \
        note {text}, \
        message {bytes} NOT NULL, \
        namespace {word} NOT NULL DEFAULT 'default'",
    indices: &[
        Index {
            name: "dead_letters_by_status",
            columns: "status, id",
            only: None,
        },
        Index {
            name: "dead_letters_by_queue",
            columns: "queue, id",
            only: None,
        },
        // The counts by queue and status can be read of this one alone.
        Index {
            name: "dead_letters_counted",
            columns: "queue, status",
            only: None,
        },
        Index {
            name: "dead_letters_by_saga",
            columns: "saga_id, id",
            only: Some("saga_id IS NOT NULL"),
        },
        Index {
            name: "dead_letters_by_participant",
            columns: "participant, id",
            only: Some("participant IS NOT NULL"),
        },
        Index {
            name: "dead_letters_by_digest",
            columns: "digest, status",
            only: None,
        },
    ],
    clustered: false,
};
