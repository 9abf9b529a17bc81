//! The bank: plain HTTP, and PostgreSQL.

use std::process::Command as Program;
use std::time::Duration;

use amends::message::{Command, ReplyOutcome};
use amends::participant::StepError;
use futures_util::future::join_all;
use serde_json::{Value, json};
use support::database::{Kind, TestDatabase};
use support::{eventually, free_port};
use tempfile::TempDir;

use crate::process::{Process, example, installed, log};
use crate::story::{self, Participant};

const LONG: Duration = Duration::from_secs(30);

struct Bank {
    directory: TempDir,
    database: TestDatabase,
    port: u16,
    process: Option<Process>,
    client: reqwest::Client,
}

impl Bank {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for file in ["participant.mjs", "barrier.mjs", "package.json"] {
            std::fs::copy(example("node").join(file), directory.path().join(file)).unwrap();
        }
        let modules = installed("AMENDS_TEST_NODE_MODULES", "node-participant/node_modules");
        std::os::unix::fs::symlink(modules, directory.path().join("node_modules")).unwrap();
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut bank = Self {
            directory,
            database: TestDatabase::fresh(Kind::Postgres),
            port: free_port(),
            process: None,
            client: reqwest::Client::new(),
        };
        bank.restart().await;
        bank
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    async fn post(&self, command: &Command) -> ReplyOutcome {
        let mut request = self
            .client
            .post(self.url(&command.name))
            .header("content-type", "application/json")
            .header("idempotency-key", command.idempotency_key())
            .header("amends-saga-id", command.saga.to_string())
            .header("amends-definition", &command.definition)
            .header("amends-step", &command.step)
            .header("amends-phase", command.phase.as_str())
            .header("amends-attempt", command.attempt)
            .header("amends-deadline", command.deadline.to_rfc3339())
            .header("amends-fence", command.fence)
            .body(command.data.clone());
        if let Some(outcome) = command.action_outcome {
            request = request.header("amends-action-outcome", outcome.as_str());
        }
        let answer = request.send().await.unwrap();
        let (status, content_type) = (answer.status().as_u16(), content_type(&answer));
        let body = answer.bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (status, content_type.as_str()) {
            (200, "application/json") => ReplyOutcome::Succeeded(body),
            (204, "") => ReplyOutcome::Succeeded(Value::Null),
            (409, "application/problem+json") => ReplyOutcome::Refused(StepError::new(
                body["code"].as_str().unwrap(),
                body["detail"].as_str().unwrap(),
            )),
            _ => panic!("{status} {body}: {}", log(self.directory.path())),
        }
    }
}

fn content_type(answer: &reqwest::Response) -> String {
    let header = answer.headers().get("content-type");
    header.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

impl Participant for Bank {
    const COMMANDS: (&'static str, &'static str) = ("charge", "refund");
    const NOT_ENOUGH: &'static str = "insufficient_funds";

    fn input(of_ten: u32) -> Value {
        json!({ "account": "ada", "amount": of_ten * 10 })
    }

    async fn ask(&mut self, commands: Vec<Command>) -> Vec<ReplyOutcome> {
        join_all(commands.iter().map(|command| self.post(command))).await
    }

    async fn restart(&mut self) {
        self.process = None;
        let mut program = Program::new("node");
        program
            .arg("participant.mjs")
            .env("PORT", self.port.to_string())
            .env("DATABASE_URL", self.database.url());
        self.process = Some(Process::start(program, self.directory.path()));
        let directory = self.directory.path();
        eventually(
            &format!("node in {}", directory.display()),
            LONG,
            async || log(directory).contains("ready").then_some(()),
        )
        .await;
    }
}

#[tokio::test]
async fn the_bank_in_node_is_a_good_participant() {
    story::is_a_good_participant(&mut Bank::start().await).await;
}

#[tokio::test]
async fn the_bank_in_node_tells_what_is_wrong_with_a_request() {
    let bank = Bank::start().await;
    let none = bank.client.post(bank.url("charge")).body("{}");
    let all = || {
        let headers = [
            ("idempotency-key", "a:b:action"),
            ("amends-saga-id", "a"),
            ("amends-step", "b"),
            ("amends-phase", "action"),
        ];
        headers.into_iter().fold(
            bank.client.post(bank.url("charge")),
            |request, (name, value)| request.header(name, value),
        )
    };
    let unknown = bank.client.post(bank.url("steal")).body("{}");
    for (request, status, code, said) in [
        (none, 400, "not_a_command", "Idempotency-Key"),
        (all().body("{"), 400, "not_a_command", "JSON"),
        (unknown, 404, "unknown_command", "route"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(content_type(&answer), "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code);
        assert!(
            problem["detail"].as_str().unwrap().contains(said),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn the_bank_in_node_asks_for_another_try_when_its_database_fails() {
    let bank = Bank::start().await;
    let database = sea_orm::Database::connect(bank.database.url())
        .await
        .unwrap();
    let lost = "ALTER TABLE charges RENAME TO lost";
    sea_orm::ConnectionTrait::execute_unprepared(&database, lost)
        .await
        .unwrap();
    let request = |bank: &Bank| {
        bank.client
            .post(bank.url("charge"))
            .header("idempotency-key", "a:b:action")
            .header("amends-saga-id", "a")
            .header("amends-step", "b")
            .header("amends-phase", "action")
            .json(&Bank::input(10))
    };
    let answer = request(&bank).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    // Nothing was kept, so the next try does it.
    let found = "ALTER TABLE lost RENAME TO charges";
    sea_orm::ConnectionTrait::execute_unprepared(&database, found)
        .await
        .unwrap();
    assert_eq!(request(&bank).send().await.unwrap().status(), 200);
}
