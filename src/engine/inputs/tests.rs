//! Who waits for a saga's end is told of it, however late he asks.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::engine::StartRequest;
use crate::engine::bed::Bed;
use crate::saga::Status;

#[tokio::test]
async fn the_end_of_a_saga_that_has_left_memory_is_told_without_reading_it() {
    let pause = "name: pause\nversion: 1\nsteps:\n  - { id: pause, delay: 10ms }\n";
    let Bed { engine, store, .. } = &Bed::new(Vec::new(), &[("pause.yaml", pause)]).await;
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
