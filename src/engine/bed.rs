//! What the engine's own tests run it on: a database of their own, and no participants.

use std::sync::Arc;
use std::time::Duration;

use super::catalogue::Catalogue;
use super::{Engine, EngineParts, EngineSettings};
use crate::definition::Surroundings;
use crate::dispatch::Dispatcher;
use crate::dispatch::broker::Broker;
use crate::store::{DatabaseSettings, ReplicaInfo, Store};
use crate::telemetry::{Metrics, Traces};

/// An engine with its database.
pub(super) struct Bed {
    pub(super) engine: Engine,
    pub(super) store: Store,
    _directory: tempfile::TempDir,
}

impl Bed {
    /// One with these brokers and these definitions, each a file's name and what is in it.
    pub(super) async fn new(brokers: Vec<Arc<dyn Broker>>, definitions: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sagas = directory.path().join("sagas");
        std::fs::create_dir(&sagas).unwrap();
        for (name, document) in definitions {
            std::fs::write(sagas.join(name), document).unwrap();
        }
        let url = format!("sqlite://{}", directory.path().join("amends.db").display());
        let store = Store::connect(&DatabaseSettings { url, pool: 2 })
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let surroundings = Surroundings::default();
        let catalogue = Catalogue::load(&store, &sagas, &surroundings);
        let engine = Engine::launch(EngineParts {
            store: store.clone(),
            dispatcher: Dispatcher::with_brokers(brokers),
            catalogue: catalogue.await.unwrap().0,
            settings: EngineSettings {
                shards: 1,
                lease_ms: 10_000,
                active_sagas_max: 1,
                drain_timeout: Duration::from_secs(1),
                replica: ReplicaInfo {
                    address: String::new(),
                    version: String::new(),
                    role: "active".to_owned(),
                },
            },
            metrics: Arc::new(Metrics::silent().unwrap()),
            traces: Traces::off(),
            callbacks: None,
        });
        Self {
            engine,
            store,
            _directory: directory,
        }
    }
}
