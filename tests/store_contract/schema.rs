//! The schema, the definitions, and who may open the database.

use std::sync::Arc;

use amends::saga::id::Timestamp;
use amends::store::{
    AuditAction, AuditRecord, DatabaseSettings, DefinitionState, NewDefinition, Published, Source,
    Store, StoreError,
};
use sea_orm::ConnectionTrait;

use crate::bed::{Bed, Kind, connect};

crate::contract! {
    migrations_are_made_once on sqlite postgres mariadb;
    migrations_of_a_newer_version_are_no_error on sqlite postgres mariadb;
    replicas_that_migrate_at_once_take_turns on postgres mariadb;
    a_definition_is_published_once on sqlite postgres mariadb;
    a_definition_is_paused on sqlite postgres mariadb;
    a_second_process_is_kept_out on sqlite;
}

async fn migrations_are_made_once(bed: Arc<Bed>) {
    assert!(bed.store.pending_migrations().await.unwrap().is_empty());
    assert!(bed.store.migrate().await.unwrap().is_empty());
    let raw = bed.raw().await;
    raw.execute_unprepared(
        "DELETE FROM seaql_migrations WHERE version = 'm20261121_000003_leases'",
    )
    .await
    .unwrap();
    // As after a death in the middle: what is there already is in nobody's way.
    assert_eq!(
        bed.store.pending_migrations().await.unwrap(),
        ["m20261121_000003_leases"]
    );
    assert_eq!(
        bed.store.migrate().await.unwrap(),
        ["m20261121_000003_leases"]
    );
    assert!(bed.store.pending_migrations().await.unwrap().is_empty());
    raw.close().await.unwrap();
}

async fn migrations_of_a_newer_version_are_no_error(bed: Arc<Bed>) {
    let raw = bed.raw().await;
    raw.execute_unprepared(
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_far', 0)",
    )
    .await
    .unwrap();
    assert!(bed.store.pending_migrations().await.unwrap().is_empty());
    assert!(bed.store.migrate().await.unwrap().is_empty());
    raw.close().await.unwrap();
}

async fn replicas_that_migrate_at_once_take_turns(bed: Arc<Bed>) {
    let raw = bed.raw().await;
    for table in [
        "seaql_migrations",
        "definitions",
        "sagas",
        "saga_events",
        "saga_labels",
        "start_keys",
        "shards",
        "replicas",
        "audit_log",
        "dead_letters",
    ] {
        raw.execute_unprepared(&format!("DROP TABLE {table}"))
            .await
            .unwrap();
    }
    let other = connect(&bed.url).await;
    let missing = bed.store.pending_migrations().await.unwrap().len();
    assert!(missing > 3, "{missing}");
    let (one, two) = tokio::join!(bed.store.migrate(), other.migrate());
    assert_eq!(one.unwrap().len() + two.unwrap().len(), missing);
    other.close().await.unwrap();
    raw.close().await.unwrap();
}

async fn a_definition_is_published_once(bed: Arc<Bed>) {
    let at = Timestamp(1);
    let store = &bed.store;
    let record = AuditRecord::new(AuditAction::DefinitionPublished, at, "ada", None);
    let publish = async |version, document| {
        let new = NewDefinition {
            name: "order",
            version,
            document,
            at,
            source: Source::Api,
        };
        store.publish_definition(&new, &record).await
    };
    assert_eq!(
        publish(1, r#"{"a":1,"b":[1]}"#).await.unwrap(),
        Published::New
    );
    assert_eq!(
        publish(1, r#"{ "b": [1], "a": 1 }"#).await.unwrap(),
        Published::Same
    );
    assert_eq!(
        publish(1, r#"{"a":2,"b":[1]}"#).await.unwrap(),
        Published::Conflict
    );
    assert_eq!(publish(2, r#"{"a":2}"#).await.unwrap(), Published::New);
    let stored = store.definitions().await.unwrap();
    let versions: Vec<_> = stored
        .iter()
        .map(|d| (d.name.as_str(), d.version))
        .collect();
    assert_eq!(versions, [("order", 1), ("order", 2)]);
    let document = store.definition_document("order", 1).await.unwrap();
    assert_eq!(document.as_deref(), Some(r#"{"a":1,"b":[1]}"#));
    assert_eq!(store.definition_document("order", 9).await.unwrap(), None);
    assert_eq!((stored[0].published_at, stored[0].paused), (at, false));
    assert_eq!(stored[0].source, Source::Api);
    let (one, two) = tokio::join!(publish(3, "{}"), publish(3, "{}"));
    let both = [one.unwrap(), two.unwrap()];
    assert!(
        both.contains(&Published::New) && both.contains(&Published::Same),
        "{both:?}"
    );
}

async fn a_definition_is_paused(bed: Arc<Bed>) {
    let store = &bed.store;
    let record = AuditRecord::new(AuditAction::DefinitionPaused, Timestamp(1), "ada", None);
    for version in 1..=3 {
        let new = NewDefinition {
            name: "order",
            version,
            document: "{}",
            at: Timestamp(1),
            source: Source::Directory,
        };
        assert_eq!(
            store.publish_definition(&new, &record).await.unwrap(),
            Published::New
        );
    }
    let pause = async |version, paused| {
        store
            .pause_definition("order", version, paused, &record)
            .await
            .unwrap()
    };
    let paused = async || -> Vec<bool> {
        let all: Vec<DefinitionState> = store.definitions().await.unwrap();
        assert!(all.iter().all(|state| state.source == Source::Directory));
        all.iter().map(|state| state.paused).collect()
    };
    assert_eq!(pause(Some(2), true).await, Some(vec![2]));
    assert_eq!(paused().await, [false, true, false]);
    assert_eq!(
        pause(Some(2), true).await,
        Some(vec![]),
        "it was so already"
    );
    assert_eq!(pause(None, true).await, Some(vec![1, 3]));
    assert_eq!(paused().await, [true, true, true]);
    assert_eq!(pause(None, false).await, Some(vec![1, 2, 3]));
    assert_eq!(paused().await, [false, false, false]);
    assert_eq!(pause(Some(4), true).await, None);
    assert_eq!(
        store
            .pause_definition("absent", None, true, &record)
            .await
            .unwrap(),
        None
    );
}

async fn a_second_process_is_kept_out(bed: Arc<Bed>) {
    assert_eq!(bed.kind, Kind::Sqlite);
    let settings = DatabaseSettings {
        url: bed.url.clone(),
        pool: 1,
    };
    let error = Store::connect(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("amends.db is in use"), "{told}");
    assert!(told.contains(&std::process::id().to_string()), "{told}");
}
