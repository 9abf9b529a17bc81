//! Faults under load: the server gone, its connections closed, the coordinator killed. Every saga ends,
//! and by the participants' ledger nothing is lost or done twice.

use std::time::Duration;

use support::database::Kind;
use support::ledger::Faults;
use support::rabbitmq::PrivateRabbitMq;

use crate::scene::{ORDER, Scene, start_many};

/// How long the server is away.
const TROUBLE: Duration = Duration::from_secs(20);

fn some_faults() -> Faults {
    Faults {
        refused: 0.1,
        unavailable: 0.05,
        ..Faults::default()
    }
}

/// Starts sagas for as long as something lasts, and answers with all of them.
async fn load_during(scene: &Scene, trouble: impl Future<Output = ()>) -> Vec<String> {
    let mut trouble = std::pin::pin!(trouble);
    let mut sagas = Vec::new();
    loop {
        sagas.extend(start_many(scene, "order", 5).await);
        tokio::select! {
            () = &mut trouble => return sagas,
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_stopped_started_and_its_connections_closed_under_load() {
    let mut rabbitmq = tokio::task::spawn_blocking(PrivateRabbitMq::start_new)
        .await
        .expect("a server");
    let url = rabbitmq.url();
    let scene = Scene::on(
        &url,
        Kind::Postgres,
        &[ORDER],
        &[("participants.ledger.timeout", "60s")],
    )
    .await;
    scene.ledger.set_faults(some_faults());
    let served = scene.serve();
    let (tell, told) = tokio::sync::oneshot::channel();
    let trouble = std::thread::spawn(move || {
        rabbitmq.stop();
        std::thread::sleep(TROUBLE);
        rabbitmq.start();
        rabbitmq.close_connections(Duration::from_secs(1), 20);
        std::thread::sleep(TROUBLE);
        let _gone = tell.send(());
        rabbitmq
    });
    let sagas = load_during(&scene, async {
        told.await.expect("the trouble");
    })
    .await;
    scene.nothing_is_wrong(&sagas).await;
    served.stop().await;
    let rabbitmq = trouble.join().expect("the trouble");
    drop(scene);
    drop(rabbitmq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_killed_five_times_under_load() {
    let mut scene = Scene::open(&[ORDER], &[]).await;
    scene.ledger.set_faults(some_faults());
    let served = scene.serve();
    let mut sagas = Vec::new();
    for _ in 0..5 {
        sagas.extend(start_many(&scene, "order", 60).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        scene.coordinator.kill();
        scene.coordinator.restart().await;
    }
    scene.nothing_is_wrong(&sagas).await;
    served.stop().await;
    scene.clean_up().await;
}
