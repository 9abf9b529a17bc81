//! The first thing that a newcomer runs: over HTTP with nothing to set up, and over RabbitMQ.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};

use super::{BINARY, LONG, run};

/// Where the tests' RabbitMQ is.
#[expect(
    clippy::disallowed_methods,
    reason = "tests/run says where the server is"
)]
fn server() -> String {
    std::env::var("AMENDS_TEST_RABBITMQ")
        .unwrap_or_else(|_unset| "amqp://guest:guest@127.0.0.1:5672".to_owned())
}

#[track_caller]
fn tells_three_orders(out: &str) {
    let orders: Vec<&str> = out
        .lines()
        .filter(|line| line.contains("completed in") || line.contains("compensated in"))
        .collect();
    assert_eq!(orders.len(), 3, "{out}");
    for (order, words) in orders.iter().zip([
        ["completed", "tracking"],
        ["compensated", "card_declined"],
        ["compensated", "timeout"],
    ]) {
        assert!(words.iter().all(|word| order.contains(word)), "{order}");
    }
}

#[test]
fn the_demo_shows_three_orders() {
    let ran = run(&["demo", "--exit"]).ends(0);
    tells_three_orders(&ran.out);
    assert_eq!(ran.err, "");
}

#[test]
fn the_demo_shows_them_over_rabbitmq_too() {
    let ran = run(&["demo", "--exit", "--rabbitmq", &server()]).ends(0);
    tells_three_orders(&ran.out);
    // Its names, and no password.
    assert!(ran.out.contains("amends-demo-") && !ran.out.contains(":guest@"));
    assert_eq!(ran.err, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_the_broker() {
    let demo = Demo(
        Command::new(BINARY)
            .args(["demo", "--rabbitmq", &server()])
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary"),
    );
    let serving = tokio::task::spawn_blocking(move || demo.until("Still serving"));
    let (demo, told) = tokio::time::timeout(LONG, serving)
        .await
        .expect("it serves")
        .expect("no panic");
    tells_three_orders(&told);
    let names = told.split("participants  ").nth(1).expect("its names");
    let prefix = names.split(".*").next().expect("a prefix");
    assert!(prefix.starts_with("amends-demo-"), "{prefix}");
    let queues = ["inventory", "payment", "shipping", "replies"];
    let queues = queues.iter().flat_map(|queue| {
        let queue = format!("{prefix}.{queue}");
        [format!("{queue}.dlq"), queue]
    });
    let queues: Vec<String> = queues.collect();
    for queue in &queues {
        assert!(is_there(queue).await, "{queue}");
    }
    let ended = tokio::task::spawn_blocking(move || demo.interrupted());
    let (code, err) = tokio::time::timeout(LONG, ended)
        .await
        .expect("it ends")
        .expect("no panic");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for queue in &queues {
        assert!(!is_there(queue).await, "{queue} is left");
    }
    for exchange in ["commands", "dead-letters"] {
        let exchange = format!("{prefix}.{exchange}");
        assert!(!is_exchange_there(&exchange).await, "{exchange} is left");
    }
}

#[test]
fn a_broker_that_is_not_there_is_told_at_once() {
    let begun = Instant::now();
    let nobody = "amqp://guest:hush@127.0.0.1:1";
    let ran = run(&["demo", "--exit", "--rabbitmq", nobody]).ends(1);
    assert!(begun.elapsed() < LONG / 3, "{:?}", begun.elapsed());
    assert!(
        !ran.err.contains("hush") && !ran.out.contains("hush"),
        "{}",
        ran.err
    );
    ran.says(&["rabbitmq cannot be used", "refused"]);
}

/// A demo that runs; killed when dropped.
struct Demo(Child);

impl Demo {
    /// Reads what it tells, up to and with the line that has this word.
    fn until(mut self, word: &str) -> (Self, String) {
        let mut lines = BufReader::new(self.0.stdout.as_mut().expect("a pipe"));
        let mut told = String::new();
        while !told.contains(word) {
            let read = lines.read_line(&mut told).expect("text");
            assert_ne!(read, 0, "it ended: {told}");
        }
        (self, told)
    }

    /// Ends it as Ctrl-C does; its status, and what it complained of.
    fn interrupted(mut self) -> (Option<i32>, String) {
        let process = self.0.id().to_string();
        let sent = Command::new("kill").args(["-INT", &process]).status();
        assert!(sent.expect("kill").success());
        let status = self.0.wait().expect("the binary");
        let pipe = self.0.stderr.take().expect("a pipe");
        let err = std::io::read_to_string(pipe).expect("text");
        (status.code(), err)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.0.kill().is_ok();
        let _reaped = self.0.wait().is_ok();
    }
}

async fn channel() -> (Connection, lapin::Channel) {
    let connection = Connection::connect(&server(), ConnectionProperties::default())
        .await
        .expect("the tests' RabbitMQ");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

async fn is_there(queue: &str) -> bool {
    let (_connection, channel) = channel().await;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let looked = channel.queue_declare(queue.into(), options, FieldTable::default());
    looked.await.is_ok()
}

async fn is_exchange_there(exchange: &str) -> bool {
    let (_connection, channel) = channel().await;
    let options = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Direct;
    let looked = channel.exchange_declare(exchange.into(), kind, options, FieldTable::default());
    looked.await.is_ok()
}
