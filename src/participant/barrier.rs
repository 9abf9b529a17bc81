//! The barrier: a command has its effect once, undoing what never happened does nothing, and an
//! action that arrives after its compensation is refused (participants.md, "What a participant
//! owes").
//!
//! It is one table in the service's own database, and one transaction around the handler's work
//! and the barrier's rows. It owns the table `amends_barrier` and nothing else of that database,
//! and knows neither HTTP nor brokers. docs/participants.md has the same for other languages.
//!
//! | what arrives | nothing known | action done | action refused | compensated |
//! |---|---|---|---|---|
//! | action | the handler | its answer again | its refusal again | refused, `compensated_first` where the compensation came first, else its answer again |
//! | compensation | succeeds, bars the action | the handler | succeeds; the handler where the coordinator says `refused` (`compensate: always`) | its answer again |
//!
//! What the handler did is kept with its answer, or neither is:
//! - *succeeded*: both are committed.
//! - *refused*, for an action: the handler's writes are rolled back, and the refusal is kept. The
//!   coordinator may have acted on it, so a later copy of the command must not succeed.
//! - *refused*, for a compensation: everything is rolled back and nothing kept. A person will look
//!   at it, and their `retry` has to reach the handler.
//! - *retry*, an error, a panic, a future that is dropped: everything is rolled back.

mod statements;

use std::error::Error;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement,
    TransactionTrait as _,
};
use serde_json::Value;

use super::Command;
use crate::definition::request::Phase;
use crate::message::ReplyOutcome;
use crate::saga::{ActionOutcome, StepError};

pub use statements::Statements;

/// The code of the refusal of an action whose compensation came first.
pub const COMPENSATED_FIRST: &str = "compensated_first";
/// The code of a retry because the handler failed.
pub const HANDLER_FAILED: &str = "handler_failed";
/// The code of a retry because the service's database failed, or two transactions were in each
/// other's way.
pub const DATABASE_FAILED: &str = "database_failed";

/// Why a handler did not come to an outcome in the ordinary way. Every error becomes
/// [`HandlerError::Failed`] by `?`, and every [`ReplyOutcome`], like that of [`Command::data`],
/// [`HandlerError::Outcome`].
#[derive(Debug)]
pub enum HandlerError {
    /// It came to this outcome early.
    Outcome(ReplyOutcome),
    /// It failed, and may do better when it is asked again.
    Failed(Box<dyn Error + Send + Sync>),
}

impl From<ReplyOutcome> for HandlerError {
    fn from(outcome: ReplyOutcome) -> Self {
        Self::Outcome(outcome)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Why there is no answer yet; always a reason to be asked again.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the database failed")]
    Database(#[from] DbErr),
    #[error("an answer that was kept cannot be read")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the transaction ended under the handler")]
    Ended,
}

/// What becomes of a transaction and its command.
#[derive(Debug)]
enum Verdict {
    /// It is committed, and this is the answer.
    Commit(ReplyOutcome),
    /// It is rolled back, and this is the answer.
    Undo(ReplyOutcome),
    /// It is rolled back, and of the command this refusal is kept.
    KeepRefusal(ReplyOutcome),
}

/// The barrier in one database. Cheap to clone; any number of processes may share the table.
#[derive(Clone, Debug)]
pub struct Barrier {
    database: DatabaseConnection,
}

impl Barrier {
    /// A barrier in this database, which is the one that the handlers write to.
    #[must_use]
    pub fn new(database: DatabaseConnection) -> Self {
        Self { database }
    }

    /// Makes the barrier's table where there is none. A service with migrations of its own puts
    /// [`Statements::create`] there.
    ///
    /// # Errors
    /// When the database is away or forbids it.
    pub async fn create_table(&self) -> Result<(), DbErr> {
        let create = self.statements().create;
        self.database.execute_unprepared(create).await.map(|_| ())
    }

    /// Forgets what is older than so many seconds, and says how many rows that were. It has to be
    /// longer than any saga may live: a compensation whose action is forgotten undoes nothing.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn forget_older_than(&self, seconds: u32) -> Result<u64, DbErr> {
        let forget = self.statement(self.statements().forget, [f64::from(seconds).into()]);
        Ok(self.database.execute(forget).await?.rows_affected())
    }

    /// Answers the command: by what is known of it, or by what the handler makes of it in the
    /// transaction that it is given. That is a retry where the handler or the database fails,
    /// which is logged.
    ///
    /// The handler must do its work through the transaction, hand on what the database fails
    /// with, and make no transaction of another connection its own. It is called at most once.
    pub async fn run<H>(&self, command: &Command, handler: H) -> ReplyOutcome
    where
        H: AsyncFnOnce(&DatabaseTransaction) -> Result<ReplyOutcome, HandlerError>,
    {
        match self.attempt(command, handler).await {
            Ok(outcome) => outcome,
            Err(trouble) => {
                tracing::warn!(
                    saga = %command.saga,
                    step = command.step,
                    phase = command.phase.as_str(),
                    error = &trouble as &dyn Error,
                    "a command could not be answered and is to be sent again"
                );
                retry(DATABASE_FAILED, "the participant's database failed")
            }
        }
    }

    async fn attempt<H>(&self, command: &Command, handler: H) -> Result<ReplyOutcome, Trouble>
    where
        H: AsyncFnOnce(&DatabaseTransaction) -> Result<ReplyOutcome, HandlerError>,
    {
        let key = command.idempotency_key();
        let transaction = self.database.begin().await?;
        match self.judge(&transaction, &key, command, handler).await {
            Ok(Verdict::Commit(outcome)) => {
                transaction.commit().await?;
                Ok(outcome)
            }
            Ok(Verdict::Undo(outcome)) => {
                undo(transaction).await?;
                Ok(outcome)
            }
            Ok(Verdict::KeepRefusal(refusal)) => {
                undo(transaction).await?;
                self.refuse(&key, refusal).await
            }
            Err(trouble) => {
                // A connection that is lost has undone everything already.
                undo(transaction).await.ok();
                Err(trouble)
            }
        }
    }

    /// What is to become of the transaction, and what of the command.
    async fn judge<H>(
        &self,
        transaction: &DatabaseTransaction,
        key: &str,
        command: &Command,
        handler: H,
    ) -> Result<Verdict, Trouble>
    where
        H: AsyncFnOnce(&DatabaseTransaction) -> Result<ReplyOutcome, HandlerError>,
    {
        if !self.claim(transaction, key, None).await? {
            return self.kept(transaction, key).await.map(Verdict::Undo);
        }
        if command.phase == Phase::Compensation && !self.may_be_undone(transaction, command).await?
        {
            let nothing = ReplyOutcome::Succeeded(Value::Null);
            return self.keep(transaction, key, nothing).await;
        }
        let outcome = match handler(transaction).await {
            Ok(outcome) | Err(HandlerError::Outcome(outcome)) => outcome,
            Err(HandlerError::Failed(error)) => {
                tracing::warn!(
                    saga = %command.saga,
                    step = command.step,
                    phase = command.phase.as_str(),
                    error = error.as_ref() as &dyn Error,
                    "a handler failed; its command is to be sent again"
                );
                retry(HANDLER_FAILED, "the participant failed")
            }
        };
        match (&outcome, command.phase) {
            (ReplyOutcome::Succeeded(_), _) => self.keep(transaction, key, outcome).await,
            (ReplyOutcome::Refused(_), Phase::Action) => Ok(Verdict::KeepRefusal(outcome)),
            (ReplyOutcome::Refused(_), Phase::Compensation) | (ReplyOutcome::Retry { .. }, _) => {
                Ok(Verdict::Undo(outcome))
            }
        }
    }

    /// Whether the compensation has something to undo. Where its action was never seen, it is
    /// barred from now on.
    async fn may_be_undone(
        &self,
        transaction: &DatabaseTransaction,
        command: &Command,
    ) -> Result<bool, Trouble> {
        let action = command.key_of(Phase::Action);
        let barred = ReplyOutcome::Refused(StepError::new(
            COMPENSATED_FIRST,
            "the compensation of this action came first",
        ));
        if self.claim(transaction, &action, Some(&barred)).await? {
            return Ok(false);
        }
        Ok(match self.kept(transaction, &action).await? {
            ReplyOutcome::Succeeded(_) => true,
            // It had no effect. Only who asked for it all the same gets the handler to look.
            ReplyOutcome::Refused(error) => {
                error.code != COMPENSATED_FIRST
                    && command.action_outcome == Some(ActionOutcome::Refused)
            }
            // Never kept.
            ReplyOutcome::Retry { .. } => false,
        })
    }

    /// Keeps a refusal, of which the handler's own writes are no part. Whoever was waiting for the
    /// key may have had it meanwhile: then theirs is the answer.
    async fn refuse(&self, key: &str, refusal: ReplyOutcome) -> Result<ReplyOutcome, Trouble> {
        let transaction = self.database.begin().await?;
        if !self.claim(&transaction, key, Some(&refusal)).await? {
            let kept = self.kept(&transaction, key).await?;
            transaction.rollback().await?;
            return Ok(kept);
        }
        transaction.commit().await?;
        Ok(refusal)
    }

    /// Whether the key was nobody's. Waits for whoever is working under it.
    async fn claim(
        &self,
        transaction: &DatabaseTransaction,
        key: &str,
        reply: Option<&ReplyOutcome>,
    ) -> Result<bool, Trouble> {
        let reply = reply.map(|reply| reply.to_value().to_string());
        let claim = self.statement(self.statements().claim, [key.into(), reply.into()]);
        Ok(transaction.execute(claim).await?.rows_affected() == 1)
    }

    /// The answer that was given before.
    async fn kept(
        &self,
        transaction: &DatabaseTransaction,
        key: &str,
    ) -> Result<ReplyOutcome, Trouble> {
        let kept = self.statement(self.statements().kept, [key.into()]);
        let row = transaction.query_one(kept).await?;
        let reply: String = row.ok_or(Trouble::Ended)?.try_get("", "reply")?;
        read(&reply)
    }

    /// Keeps the answer with what was done.
    async fn keep(
        &self,
        transaction: &DatabaseTransaction,
        key: &str,
        outcome: ReplyOutcome,
    ) -> Result<Verdict, Trouble> {
        let reply = outcome.to_value().to_string();
        let keep = self.statement(self.statements().keep, [reply.into(), key.into()]);
        // MariaDB ends the transaction that a deadlock chose, claim and all, and a handler that
        // went on all the same did so without one.
        if transaction.execute(keep).await?.rows_affected() != 1 {
            return Err(Trouble::Ended);
        }
        Ok(Verdict::Commit(outcome))
    }

    fn statements(&self) -> &'static Statements {
        Statements::of(self.database.get_database_backend())
    }

    fn statement<const N: usize>(&self, sql: &str, values: [sea_orm::Value; N]) -> Statement {
        Statement::from_sql_and_values(self.database.get_database_backend(), sql, values)
    }
}

/// Rolls back, also where the database has done so by itself.
async fn undo(transaction: DatabaseTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Sqlite {
        // SQLite may end a transaction by itself, when the disk is full, say. `ROLLBACK` is then an
        // error, after which sqlx takes the connection for one inside a transaction for ever: its
        // next commit would commit nothing. So there is one again; where it has not ended, this
        // statement alone fails.
        transaction.execute_unprepared("BEGIN").await.ok();
    }
    transaction.rollback().await
}

fn retry(code: &str, message: &str) -> ReplyOutcome {
    ReplyOutcome::Retry {
        error: StepError::new(code, message),
        after_ms: None,
    }
}

fn read(reply: &str) -> Result<ReplyOutcome, Trouble> {
    let mut value: Value =
        serde_json::from_str(reply).map_err(|error| Trouble::Unreadable(error.into()))?;
    let data = value.get_mut("data").map(Value::take).unwrap_or_default();
    value
        .get("outcome")
        .and_then(Value::as_str)
        .and_then(|outcome| ReplyOutcome::read(outcome, data))
        .unwrap_or(Err("has no outcome"))
        .map_err(|why| Trouble::Unreadable(why.into()))
}
