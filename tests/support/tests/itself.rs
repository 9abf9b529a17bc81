//! The support itself works: a test that stands on something broken proves nothing.

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
use support::api::send;
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::ledger::{Effect, Faults, Ledger};
use support::postgres::PrivatePostgres;
use support::scripted::{Reply, Scripted, http};

const SAGA: &str = "0198c7a0-0000-7000-8000-000000000001";

fn call(ledger: &Ledger, phase: &str) -> reqwest::RequestBuilder {
    support::api::Api::new("")
        .client()
        .post(ledger.url("payment") + "/call")
        .header("idempotency-key", format!("{SAGA}:pay:{phase}"))
        .header("amends-saga-id", SAGA)
        .header("amends-step", "pay")
        .header("amends-phase", phase)
}

#[tokio::test]
async fn databases_are_fresh_and_gone_afterwards() {
    for kind in Kind::ALL {
        let (one, other) = (TestDatabase::fresh(kind), TestDatabase::fresh(kind));
        assert_ne!(one.url(), other.url());
        if kind == Kind::Sqlite {
            continue;
        }
        for database in [&one, &other] {
            let connection = Database::connect(database.url()).await.unwrap();
            connection
                .execute_unprepared("CREATE TABLE t (id INT)")
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
        let url = one.url().to_owned();
        drop(one);
        assert!(
            Database::connect(url).await.is_err(),
            "{kind:?} is still there"
        );
    }
}

#[tokio::test]
async fn a_private_postgres_stops_and_starts_with_its_data() {
    let server = PrivatePostgres::start_new();
    let database = TestDatabase::on_postgres(&server.url());
    let run = async |sql: &str| {
        let mut options = ConnectOptions::new(database.url());
        options.acquire_timeout(Duration::from_millis(500));
        Database::connect(options)
            .await?
            .execute_unprepared(sql)
            .await
    };
    run("CREATE TABLE t (id INT)").await.unwrap();
    server.stop();
    assert!(run("INSERT INTO t VALUES (1)").await.is_err());
    server.start();
    run("INSERT INTO t VALUES (1)").await.unwrap();
    server.crash();
    server.start();
    assert_eq!(run("DELETE FROM t").await.unwrap().rows_affected(), 1);
}

#[tokio::test]
async fn faults_strike_before_and_after_the_effect() {
    let only = |faults: Faults| Ledger::start(faults);
    let effect = |ledger: &Ledger| ledger.effects(SAGA).get("pay").copied();
    let done = Some(Effect { done: 1, undone: 0 });

    let ledger = only(Faults {
        unavailable: 1.0,
        ..Faults::default()
    });
    assert_eq!(send(call(&ledger, "action")).await.unwrap().status, 503);
    assert_eq!(effect(&ledger), None);

    let ledger = only(Faults {
        dropped_before: 1.0,
        ..Faults::default()
    });
    assert!(send(call(&ledger, "action")).await.is_err());
    assert_eq!(effect(&ledger), None);

    let ledger = only(Faults {
        dropped_after: 1.0,
        ..Faults::default()
    });
    assert!(send(call(&ledger, "action")).await.is_err());
    assert_eq!(effect(&ledger), done);

    let ledger = only(Faults {
        refused: 1.0,
        ..Faults::default()
    });
    let refused = send(call(&ledger, "action")).await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (409, "told_to_refuse")
    );
    assert_eq!(effect(&ledger), None);
}

#[tokio::test]
async fn an_action_that_its_caller_gave_up_is_not_in_flight() {
    let ledger = Ledger::start(Faults {
        silent: 1.0,
        ..Faults::default()
    });
    let impatient = call(&ledger, "action").timeout(Duration::from_millis(100));
    assert!(send(impatient).await.unwrap_err().is_timeout());
    ledger.set_faults(Faults::default());
    assert_eq!(
        send(call(&ledger, "compensation")).await.unwrap().status,
        200
    );
    assert_eq!(ledger.violations(), [""; 0]);
    assert_eq!(ledger.wrong_with(SAGA, false, &["pay"]), [""; 0]);
    assert_eq!(ledger.wrong_with(SAGA, true, &["pay"]).len(), 1);
}

#[tokio::test]
async fn a_compensation_during_its_action_is_found_out() {
    let ledger = Ledger::start(Faults {
        silent: 1.0,
        ..Faults::default()
    });
    let action = send(call(&ledger, "action").timeout(Duration::from_secs(3)));
    let compensation = async {
        while ledger.calls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ledger.set_faults(Faults::default());
        send(call(&ledger, "compensation")).await
    };
    let (_given_up, compensated) = tokio::join!(action, compensation);
    assert_eq!(compensated.unwrap().status, 200);
    assert_eq!(ledger.violations().len(), 1, "{:?}", ledger.violations());
}

#[tokio::test]
async fn a_scripted_participant_answers_as_told_and_remembers() {
    let scripted = Scripted::start(|asked| match asked.path.as_str() {
        "/x/json?a=1" => Reply::json(201, &serde_json::json!({ "a": 1 })),
        "/x/cut" => Reply::Bytes(Vec::new()),
        "/x/late" => Reply::Late(Duration::from_millis(200), http(204, &[], b"")),
        _ => Reply::Silence,
    });
    let client = support::api::Api::new("").client().clone();
    let ask = |path: &str| {
        let request = client.post(format!("{}{path}", scripted.url("x")));
        let request = request.header("Amends-Saga-Id", SAGA);
        send(request.header("Amends-Step", "pay").body("body"))
    };
    let answer = ask("/json?a=1").await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), &answer.body["a"]),
        (201, &1.into())
    );
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(ask("/cut").await.is_err());
    let begun = std::time::Instant::now();
    assert_eq!(ask("/late").await.unwrap().status, 204);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let silent = tokio::time::timeout(Duration::from_millis(100), ask("/silent"));
    assert!(silent.await.is_err());
    let asked = scripted.asked_for(SAGA, "pay");
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/x/json?a=1", "/x/cut", "/x/late", "/x/silent"]);
    assert!(
        asked
            .iter()
            .all(|asked| asked.method == "POST" && asked.body == b"body")
    );
}

/// A stand-in for the binary: says what it was started with and ends on SIGTERM.
const STAND_IN: &str = r#"#!/bin/sh
trap 'exit 0' TERM
echo "started: $*"
env | grep AMENDS_
while :; do sleep 0.05; done
"#;

fn stand_in(directory: &std::path::Path, script: &str) -> Settings {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join("amends");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Settings::new(path.to_str().unwrap(), "sqlite://x.db", directory)
        .participant("inventory", "http://127.0.0.1:1/inventory")
        .key("engine.lease", "2s")
}

#[tokio::test]
async fn a_process_is_started_signalled_and_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Coordinator::spawn(stand_in(directory.path(), STAND_IN));
    support::eventually("its log", Duration::from_secs(10), async || {
        process
            .log()
            .contains("AMENDS__ENGINE__LEASE=2s")
            .then_some(())
    })
    .await;
    let log = process.log();
    assert!(log.contains("started: serve"), "{log}");
    assert!(log.contains("AMENDS__DATABASE__URL=sqlite://x.db"), "{log}");
    assert!(log.contains("AMENDS__PARTICIPANTS__INVENTORY__URL=http://127.0.0.1:1/inventory"));
    process.signal("STOP");
    process.signal("CONT");
    assert!(process.stop(Duration::from_secs(10)).await.success());
    assert!(process.exit_status().is_some());
}

#[tokio::test]
async fn a_process_that_ends_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Coordinator::spawn(stand_in(directory.path(), "#!/bin/sh\nexit 2\n"));
    assert!(!process.wait_ready().await);
    assert_eq!(
        process.exit_status().and_then(|status| status.code()),
        Some(2)
    );

    let mut lasting = Coordinator::spawn(stand_in(directory.path(), STAND_IN));
    assert!(lasting.exit_status().is_none());
    lasting.kill();
    assert_eq!(lasting.exit_status().and_then(|status| status.code()), None);
}
