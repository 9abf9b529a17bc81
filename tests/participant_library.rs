//! A participant built with `amends::participant`, and a real coordinator that calls it.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends::participant::{Barrier, Command, HandlerError, ReplyOutcome, StepError, http};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, Statement};
use serde_json::{Value, json};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

const LONG: Duration = Duration::from_secs(30);

const ORDER: &str = "
name: order
version: 1
retry: { initial: 1ms, max: 20ms }
compensation: { retry: { initial: 1ms, max: 20ms } }
steps:
  - { id: charge, participant: shop, timeout: 5s, action: { command: charge },
      compensation: { command: refund } }
  - { id: ship, participant: shop, timeout: 5s, action: { command: ship } }
output: '${ steps.charge.output }'
";

#[derive(serde::Deserialize)]
struct Order {
    amount: i64,
    #[serde(default)]
    fragile: bool,
}

/// What `charge`, `refund` and `ship` do, in the service's transaction.
async fn handle(
    transaction: &DatabaseTransaction,
    command: &Command,
) -> Result<ReplyOutcome, HandlerError> {
    let book = async |sign: i64, amount: i64| {
        let sql = format!(
            "INSERT INTO book (saga, amount) VALUES ('{}', {})",
            command.saga,
            sign * amount
        );
        transaction.execute_unprepared(&sql).await
    };
    match command.name.as_str() {
        "charge" => {
            let order: Order = command.data()?;
            book(1, order.amount).await?;
            Ok(ReplyOutcome::Succeeded(json!({ "charged": order.amount })))
        }
        "refund" => {
            #[derive(serde::Deserialize)]
            struct Refund {
                input: Order,
            }
            let refund: Refund = command.data()?;
            book(-1, refund.input.amount).await?;
            Ok(ReplyOutcome::Succeeded(Value::Null))
        }
        _ => {
            let order: Order = command.data()?;
            if order.fragile {
                let error = StepError::new("too_fragile", "it would break");
                return Ok(ReplyOutcome::Refused(error));
            }
            Ok(ReplyOutcome::Succeeded(json!({})))
        }
    }
}

struct Shop {
    barrier: Barrier,
    /// Every first answer is lost on the way.
    lost: Mutex<HashSet<String>>,
}

impl Shop {
    async fn answer(&self, request: Request<Incoming>) -> Response<String> {
        let (head, body) = request.into_parts();
        let body: Bytes = body.collect().await.unwrap().to_bytes();
        let name = head.uri.path().trim_start_matches('/');
        let command = match http::command(name, &head.headers, &body) {
            Ok(command) => command,
            Err(error) => return error.answer(),
        };
        let outcome = self
            .barrier
            .run(&command, async |transaction| {
                handle(transaction, &command).await
            })
            .await;
        let first = self.lost.lock().unwrap().insert(command.idempotency_key());
        if first {
            let error = StepError::new("lost", "the answer was lost");
            return http::answer(&ReplyOutcome::Retry {
                error,
                after_ms: None,
            });
        }
        http::answer(&outcome)
    }
}

/// Serves it, and says where.
async fn serve(shop: Arc<Shop>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tasks = TaskTracker::new();
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let shop = Arc::clone(&shop);
            let service = service_fn(move |request| {
                let shop = Arc::clone(&shop);
                async move { Ok::<_, Infallible>(shop.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move { connection.await.ok() });
        }
    });
    url
}

async fn booked(database: &DatabaseConnection, saga: &str) -> Vec<i64> {
    let sql = format!("SELECT amount FROM book WHERE saga = '{saga}' ORDER BY amount DESC");
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let rows = database.query_all(statement).await.unwrap();
    rows.iter()
        .map(|row| row.try_get("", "amount").unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_built_with_the_library_takes_part_in_sagas() {
    let own = TestDatabase::fresh(Kind::Postgres);
    let database = Database::connect(own.url()).await.unwrap();
    let book = "CREATE TABLE book (saga TEXT NOT NULL, amount BIGINT NOT NULL)";
    database.execute_unprepared(book).await.unwrap();
    let barrier = Barrier::new(database.clone());
    barrier.create_table().await.unwrap();
    let url = serve(Arc::new(Shop {
        barrier,
        lost: Mutex::default(),
    }))
    .await;

    let definitions = Definitions::of(&[ORDER]);
    let store = TestDatabase::fresh(Kind::Sqlite);
    let settings = Settings::new(
        env!("CARGO_BIN_EXE_amends"),
        store.url(),
        definitions.path(),
    )
    .participant("shop", url);
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    for (input, status, code, expected) in [
        (json!({ "amount": 40 }), "completed", Value::Null, vec![40]),
        (
            json!({ "amount": 40, "fragile": true }),
            "compensated",
            json!("too_fragile"),
            vec![40, -40],
        ),
        (
            json!({ "amount": "forty" }),
            "compensated",
            json!("input_invalid"),
            vec![],
        ),
    ] {
        let started = api.start("order", &input, None).await.unwrap();
        let id = started.id();
        let saga = api.settled(&id, LONG).await;
        assert_eq!(saga["status"], status, "{saga}");
        assert_eq!(saga["failure"]["code"], code, "{saga}");
        assert_eq!(booked(&database, &id).await, expected, "{saga}");
        if status == "completed" {
            assert_eq!(saga["output"], json!({ "charged": 40 }));
            assert_eq!(saga["steps"][0]["attempts"], 2);
        }
    }
}
