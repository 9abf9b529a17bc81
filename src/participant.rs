//! What a Rust service needs to take part in sagas: commands read from HTTP requests and messages,
//! outcomes given back, and the barrier that makes a participant a good one (participants.md, "What
//! a participant owes"; docs/participants.md tells the same to services in any language).
//!
//! - [`http`] reads a [`Command`] from a request's headers and body, and makes the answer.
//! - [`barrier`] gives every command its effect once, in the service's own database.
//! - [`callback`] posts the outcome of work that was only accepted (`reply: async`).
//! - [`rabbitmq`] and [`sqs`] take commands from a queue, and give the replies back.
//!
//! It is the other end of the wire from `dispatch`: it knows neither sagas' states nor the
//! coordinator's database, serves no HTTP, and needs no runtime but tokio's. Outside [`barrier`] it
//! knows no database.
//!
//! # Example
//! A payment service. The handler is an ordinary function: the same for HTTP and for brokers, and
//! called once however often the command comes.
//! ```
//! use amends::participant::{Barrier, Command, HandlerError, ReplyOutcome, StepError, http};
//! use sea_orm::{ConnectionTrait, Database, DatabaseTransaction};
//! use serde_json::{Value, json};
//!
//! #[derive(serde::Deserialize)]
//! struct Charge {
//!     amount: i64,
//! }
//!
//! async fn handle(
//!     transaction: &DatabaseTransaction,
//!     command: &Command,
//! ) -> Result<ReplyOutcome, HandlerError> {
//!     // Input that cannot be read is a refusal, an error of the database a reason to try again.
//!     let Charge { amount } = command.data()?;
//!     match command.name.as_str() {
//!         "charge" if amount > 1_000 => {
//!             let error = StepError::new("limit_exceeded", "at most 1000 may be charged");
//!             Ok(ReplyOutcome::Refused(error))
//!         }
//!         "charge" => {
//!             let sql = format!("INSERT INTO charges VALUES ('{}', {amount})", command.saga);
//!             transaction.execute_unprepared(&sql).await?;
//!             Ok(ReplyOutcome::Succeeded(json!({ "charge_id": command.saga })))
//!         }
//!         "refund" => {
//!             let sql = format!("DELETE FROM charges WHERE saga = '{}'", command.saga);
//!             transaction.execute_unprepared(&sql).await?;
//!             Ok(ReplyOutcome::Succeeded(Value::Null))
//!         }
//!         _ => Ok(ReplyOutcome::Refused(StepError::new("unknown_command", "no such command"))),
//!     }
//! }
//!
//! /// `POST /{name}`, in whichever framework. axum takes the answer as it is.
//! async fn post(
//!     barrier: &Barrier,
//!     name: &str,
//!     headers: &::http::HeaderMap,
//!     body: &[u8],
//! ) -> ::http::Response<String> {
//!     let command = match http::command(name, headers, body) {
//!         Ok(command) => command,
//!         Err(error) => return error.answer(),
//!     };
//!     let outcome = barrier
//!         .run(&command, async |transaction| handle(transaction, &command).await)
//!         .await;
//!     http::answer(&outcome)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let database = Database::connect("sqlite::memory:").await?;
//! database.execute_unprepared("CREATE TABLE charges (saga TEXT, amount INTEGER)").await?;
//! let barrier = Barrier::new(database);
//! barrier.create_table().await?;
//!
//! // What the coordinator sends.
//! let mut headers = ::http::HeaderMap::new();
//! for (name, value) in [
//!     ("idempotency-key", "0198c7a0-0000-7000-8000-000000000001:pay:action"),
//!     ("amends-saga-id", "0198c7a0-0000-7000-8000-000000000001"),
//!     ("amends-definition", "order/1"),
//!     ("amends-step", "pay"),
//!     ("amends-phase", "action"),
//!     ("amends-attempt", "1"),
//!     ("amends-deadline", "2026-11-21T10:00:10Z"),
//!     ("amends-fence", "1"),
//! ] {
//!     headers.insert(name, value.parse()?);
//! }
//! let first = post(&barrier, "charge", &headers, br#"{"amount":40}"#).await;
//! assert_eq!(first.status(), 200);
//! let again = post(&barrier, "charge", &headers, br#"{"amount":40}"#).await;
//! assert_eq!(again.body(), first.body());
//! # Ok(())
//! # }
//! ```
//! The same service behind a queue of RabbitMQ, with the `handle` and the barrier of above:
//! ```no_run
//! use amends::config::BrokerUrl;
//! use amends::participant::rabbitmq::{Settings, serve};
//! use amends::participant::{Barrier, Command, HandlerError, ReplyOutcome};
//! use sea_orm::{Database, DatabaseTransaction};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn handle(
//! #     _transaction: &DatabaseTransaction,
//! #     command: &Command,
//! # ) -> Result<ReplyOutcome, HandlerError> {
//! #     Ok(ReplyOutcome::Succeeded(command.data()?))
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let barrier = Barrier::new(Database::connect("postgres://localhost/payment").await?);
//! barrier.create_table().await?;
//! let settings = Settings {
//!     url: BrokerUrl::parse("amqp://localhost")?,
//!     queue: "payment.commands".to_owned(),
//!     prefix: "amends".to_owned(),
//!     declare: false,
//!     prefetch: 16,
//!     source: "/payment".to_owned(),
//! };
//! let stop = CancellationToken::new(); // cancelled when the service is to end
//! let answer = move |command: Command| {
//!     let barrier = barrier.clone();
//!     async move {
//!         let work = async |transaction: &DatabaseTransaction| handle(transaction, &command).await;
//!         Ok(barrier.run(&command, work).await)
//!     }
//! };
//! serve(settings, answer, stop).await?;
//! # Ok(())
//! # }
//! ```

pub mod barrier;
pub mod callback;
mod command;
pub mod http;
pub mod rabbitmq;
mod serving;
pub mod sqs;

pub use barrier::{Barrier, HandlerError};
pub use callback::Callbacks;
pub use command::{CallbackUrl, Command, INPUT_INVALID, ReplyTo};

pub use crate::definition::request::Phase;
pub use crate::message::ReplyOutcome;
pub use crate::saga::{ActionOutcome, SagaId, StepError, Timestamp};
