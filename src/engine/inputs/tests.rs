//! Who waits for a saga's end is told of it, however late he asks.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::definition::Surroundings;
use crate::dispatch::Dispatcher;
use crate::engine::catalogue::Catalogue;
use crate::engine::{EngineParts, EngineSettings, StartRequest};
use crate::saga::Status;
use crate::store::{DatabaseSettings, ReplicaInfo, Store};
use crate::telemetry::{Metrics, Traces};

#[tokio::test]
async fn the_end_of_a_saga_that_has_left_memory_is_told_without_reading_it() {
    let directory = tempfile::tempdir().unwrap();
    let sagas = directory.path().join("sagas");
    std::fs::create_dir(&sagas).unwrap();
    let pause = "name: pause\nversion: 1\nsteps:\n  - { id: pause, delay: 10ms }\n";
    std::fs::write(sagas.join("pause.yaml"), pause).unwrap();
    let url = format!("sqlite://{}", directory.path().join("amends.db").display());
    let store = Store::connect(&DatabaseSettings { url, pool: 2 })
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let surroundings = Surroundings::default();
    let catalogue = Catalogue::load(&store, &sagas, &surroundings);
    let engine = Engine::launch(EngineParts {
        store: store.clone(),
        dispatcher: Dispatcher::with_brokers(Vec::new()),
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
    let until = async |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(&|| engine.takes_starts().is_ok()).await;
    let request = StartRequest {
        definition: "pause".to_owned(),
        version: None,
        key: None,
        input: json!({}),
        labels: BTreeMap::new(),
        idempotency: None,
        traceparent: None,
        tracestate: None,
        actor: Actor {
            name: "ann".to_owned(),
            remote: None,
        },
    };
    let started = engine.start(request).await.unwrap();
    let id = started.snapshot.saga.id;
    assert_eq!(started.snapshot.saga.status(), Status::Running);
    let tenure = engine.parts.tenure().unwrap();
    until(&|| tenure.active.get(id).is_none()).await;

    // Nothing can be read any more.
    store.close().await.unwrap();
    let settled = engine.settled(&started, Duration::from_secs(1)).await;
    let settled = settled.expect("it has ended");
    assert_eq!(settled.saga.status(), Status::Completed);
    engine.drain().await;
}
