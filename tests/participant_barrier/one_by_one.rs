//! One command after the other.

use amends::participant::barrier::{COMPENSATED_FIRST, DATABASE_FAILED, HANDLER_FAILED};
use amends::participant::{ActionOutcome, INPUT_INVALID, ReplyOutcome, StepError};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use support::database::Kind;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::bed::{Bed, action, compensation, done, effect, succeeded};

const NOTHING: ReplyOutcome = ReplyOutcome::Succeeded(Value::Null);

fn refused(code: &str) -> ReplyOutcome {
    ReplyOutcome::Refused(StepError::new(code, "no"))
}

fn code(outcome: &ReplyOutcome) -> &str {
    match outcome {
        ReplyOutcome::Succeeded(_) => "succeeded",
        ReplyOutcome::Refused(error) | ReplyOutcome::Retry { error, .. } => &error.code,
    }
}

#[tokio::test]
async fn a_command_seen_before_gives_the_answer_of_the_first_time() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        for attempt in 1..=3 {
            let command = amends::participant::Command {
                attempt,
                ..action(1)
            };
            let said = bed
                .barrier
                .run(&command, async |t| {
                    effect(t, "charge").await?;
                    Ok(ReplyOutcome::Succeeded(json!({ "attempt": attempt })))
                })
                .await;
            assert_eq!(
                said,
                ReplyOutcome::Succeeded(json!({ "attempt": 1 })),
                "{kind:?}"
            );
        }
        assert_eq!(bed.count("charge").await, 1, "{kind:?}");
        // Another process of the service knows it too, and another saga is another matter.
        let other = bed.another().await;
        let again = other
            .run(&action(1), async |t| done(t, "charge").await)
            .await;
        assert_eq!(
            again,
            ReplyOutcome::Succeeded(json!({ "attempt": 1 })),
            "{kind:?}"
        );
        let second = other
            .run(&action(2), async |t| done(t, "charge").await)
            .await;
        assert_eq!(second, succeeded("charge"), "{kind:?}");
        assert_eq!(bed.count("charge").await, 2, "{kind:?}");
    }
}

#[tokio::test]
async fn undoing_an_action_never_seen_does_nothing_and_bars_it() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        let undo = compensation(1, ActionOutcome::Unknown);
        for _ in 0..2 {
            let said = bed
                .barrier
                .run(&undo, async |t| done(t, "refund").await)
                .await;
            assert_eq!(said, NOTHING, "{kind:?}");
        }
        for _ in 0..2 {
            let said = bed
                .barrier
                .run(&action(1), async |t| done(t, "charge").await)
                .await;
            assert_eq!(code(&said), COMPENSATED_FIRST, "{kind:?}");
            assert!(matches!(said, ReplyOutcome::Refused(_)), "{kind:?}");
        }
        assert_eq!(bed.count("charge").await, 0, "{kind:?}");
        assert_eq!(bed.count("refund").await, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn what_was_done_is_undone_once() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        bed.barrier
            .run(&action(1), async |t| done(t, "charge").await)
            .await;
        for known in [ActionOutcome::Succeeded, ActionOutcome::Unknown] {
            let undo = compensation(1, known);
            let said = bed
                .barrier
                .run(&undo, async |t| done(t, "refund").await)
                .await;
            assert_eq!(said, succeeded("refund"), "{kind:?}");
        }
        assert_eq!(bed.count("refund").await, 1, "{kind:?}");
        // A late copy of the action is answered as ever, and has no effect.
        let late = bed
            .barrier
            .run(&action(1), async |t| done(t, "charge").await)
            .await;
        assert_eq!(late, succeeded("charge"), "{kind:?}");
        assert_eq!(bed.count("charge").await, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_refused_action_leaves_nothing_but_its_refusal() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        let said = bed
            .barrier
            .run(&action(1), async |t| {
                effect(t, "charge").await?;
                Ok(refused("card_declined"))
            })
            .await;
        assert_eq!(said, refused("card_declined"), "{kind:?}");
        assert_eq!(bed.count("charge").await, 0, "{kind:?}");
        let again = bed
            .barrier
            .run(&action(1), async |t| done(t, "charge").await)
            .await;
        assert_eq!(again, refused("card_declined"), "{kind:?}");
        assert_eq!(bed.count("charge").await, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn undoing_a_refused_action_is_the_handlers_only_where_it_is_asked_for() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        for saga in [1, 2] {
            bed.barrier
                .run(&action(saga), async |_| Ok(refused("no_stock")))
                .await;
        }
        let unknown = compensation(1, ActionOutcome::Unknown);
        let said = bed
            .barrier
            .run(&unknown, async |t| done(t, "tidy").await)
            .await;
        assert_eq!(said, NOTHING, "{kind:?}");
        let always = compensation(2, ActionOutcome::Refused);
        let said = bed
            .barrier
            .run(&always, async |t| done(t, "tidy").await)
            .await;
        assert_eq!(said, succeeded("tidy"), "{kind:?}");
        assert_eq!(bed.count("tidy").await, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_refused_compensation_is_open_to_another_try() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        bed.barrier
            .run(&action(1), async |t| done(t, "charge").await)
            .await;
        let undo = compensation(1, ActionOutcome::Succeeded);
        let said = bed
            .barrier
            .run(&undo, async |t| {
                effect(t, "refund").await?;
                Ok(refused("account_closed"))
            })
            .await;
        assert_eq!(said, refused("account_closed"), "{kind:?}");
        assert_eq!(bed.count("refund").await, 0, "{kind:?}");
        let said = bed
            .barrier
            .run(&undo, async |t| done(t, "refund").await)
            .await;
        assert_eq!(said, succeeded("refund"), "{kind:?}");
        assert_eq!(bed.count("refund").await, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_to_be_tried_again_leaves_nothing() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        let busy = ReplyOutcome::Retry {
            error: StepError::new("busy", "later"),
            after_ms: Some(1_500),
        };
        let said = bed
            .barrier
            .run(&action(1), async |t| {
                effect(t, "charge").await?;
                Ok(busy.clone())
            })
            .await;
        assert_eq!(said, busy, "{kind:?}");
        let said = bed
            .barrier
            .run(&action(1), async |t| {
                effect(t, "charge").await?;
                t.execute_unprepared("SELECT nothing FROM nowhere").await?;
                Ok(succeeded("charge"))
            })
            .await;
        assert_eq!(code(&said), HANDLER_FAILED, "{kind:?}");
        let said = bed
            .barrier
            .run(&action(1), async |t| {
                effect(t, "charge").await?;
                // What a deadlock does in MariaDB, and this handler does not look.
                t.execute_unprepared("ROLLBACK").await?;
                Ok(succeeded("charge"))
            })
            .await;
        assert_eq!(code(&said), DATABASE_FAILED, "{kind:?}");
        let barrier = bed.barrier.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let fails = async |t: &_| {
                effect(t, "charge").await?;
                panic!("a bug")
            };
            barrier.run(&action(1), fails).await
        });
        assert!(
            task.join_next().await.unwrap().unwrap_err().is_panic(),
            "{kind:?}"
        );
        let entered = Notify::new();
        let command = action(1);
        let never = bed.barrier.run(&command, async |t| {
            effect(t, "charge").await?;
            entered.notify_one();
            std::future::pending().await
        });
        // As when the caller hangs up.
        tokio::select! {
            said = never => panic!("{kind:?}: {said:?}"),
            () = entered.notified() => {}
        }
        assert_eq!(
            (bed.count("charge").await, bed.kept().await),
            (0, 0),
            "{kind:?}"
        );
        let said = bed
            .barrier
            .run(&action(1), async |t| done(t, "charge").await)
            .await;
        assert_eq!(said, succeeded("charge"), "{kind:?}");
        assert_eq!(bed.count("charge").await, 1, "{kind:?}");
    }
}

/// What SQLite may do when its disk is full: after it sqlx took the connection for one inside a
/// transaction, and a commit on it committed nothing.
#[tokio::test]
async fn a_transaction_that_the_database_ended_spoils_no_connection() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        let barrier = bed.with_connections(1).await;
        let ended = barrier
            .run(&action(1), async |t| {
                t.execute_unprepared("ROLLBACK").await?;
                Ok(succeeded("charge"))
            })
            .await;
        assert_eq!(code(&ended), DATABASE_FAILED, "{kind:?}");
        let busy = ReplyOutcome::Retry {
            error: StepError::new("busy", "later"),
            after_ms: None,
        };
        for saga in [1, 2] {
            let said = barrier.run(&action(saga), async |_| Ok(busy.clone())).await;
            assert_eq!(said, busy, "{kind:?}");
        }
        let said = barrier
            .run(&action(1), async |t| done(t, "charge").await)
            .await;
        assert_eq!(said, succeeded("charge"), "{kind:?}");
        // As everybody else sees it.
        assert_eq!(bed.count("charge").await, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn input_that_cannot_be_read_is_refused_for_good() {
    #[derive(serde::Deserialize)]
    struct Charge {
        amount: u32,
    }
    let bed = Bed::new(Kind::Sqlite).await;
    let mut wrong = action(1);
    wrong.data = r#"{"amount":"forty"}"#.to_owned();
    for (command, expected) in [(wrong, INPUT_INVALID), (action(2), "succeeded")] {
        let said = bed
            .barrier
            .run(&command, async |t| {
                let charge: Charge = command.data()?;
                done(t, &format!("charge {}", charge.amount)).await
            })
            .await;
        assert_eq!(code(&said), expected);
    }
    assert_eq!(bed.count("charge 40").await, 1);
    assert_eq!(bed.kept().await, 2);
}

#[tokio::test]
async fn what_is_old_can_be_forgotten() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        for saga in [1, 2] {
            bed.barrier
                .run(&action(saga), async |t| done(t, "charge").await)
                .await;
        }
        let age = match kind {
            Kind::Sqlite => "datetime('now', '-2 days')",
            Kind::Postgres => "now() - interval '2 days'",
            Kind::MariaDb => "CURRENT_TIMESTAMP - INTERVAL 2 DAY",
        };
        let first = action(1).idempotency_key();
        bed.connection
            .execute_unprepared(&format!(
                "UPDATE amends_barrier SET created_at = {age} WHERE idempotency_key = '{first}'"
            ))
            .await
            .unwrap();
        assert_eq!(
            bed.barrier.forget_older_than(86_400).await.unwrap(),
            1,
            "{kind:?}"
        );
        assert_eq!(
            bed.barrier.forget_older_than(86_400).await.unwrap(),
            0,
            "{kind:?}"
        );
        assert_eq!(bed.kept().await, 1, "{kind:?}");
    }
}
