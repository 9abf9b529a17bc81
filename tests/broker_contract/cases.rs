//! The cases, each a function of a bed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use amends::definition::request::Phase;
use amends::dispatch::broker::{BrokerKind, Origin};
use amends::dispatch::{Attempt, Pass, PublishResult, Sent};
use amends::message::{self, ReplyOutcome};
use amends::participant::rabbitmq::Unanswered;
use amends::participant::{Command, ReplyTo};
use amends::saga::{ActionOutcome, Outcome, StepError};
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::eventually;

use crate::bed::{Bed, PATIENCE, Way, attempt, now};

/// How long the slow command takes.
const SLOW: Duration = Duration::from_millis(1_500);

#[derive(Debug, thiserror::Error)]
#[error("not now")]
struct NotNow;

/// What the participant does, by the command's name.
pub(crate) async fn participant(command: Command) -> Result<ReplyOutcome, Unanswered> {
    match command.name.as_str() {
        "refuse" => Ok(ReplyOutcome::Refused(StepError::new(
            "no_money",
            "the account is empty",
        ))),
        "retry" => Ok(ReplyOutcome::Retry {
            error: StepError::new("busy", "come back"),
            after_ms: Some(1_500),
        }),
        "slow" => {
            tokio::time::sleep(SLOW).await;
            Ok(ReplyOutcome::Succeeded(json!("at last")))
        }
        "reject" => Err(Unanswered::Reject(Box::new(NotNow))),
        "fail" | "panic" if is_first(&command) => match command.name.as_str() {
            "fail" => Err(NotNow.into()),
            _ => panic!("a bug"),
        },
        _ => Ok(ReplyOutcome::Succeeded(serde_json::from_str(
            &command.data,
        )?)),
    }
}

/// Whether nobody was given that key before.
fn is_first(command: &Command) -> bool {
    static SEEN: Mutex<BTreeMap<String, AtomicU32>> = Mutex::new(BTreeMap::new());
    let mut seen = SEEN.lock();
    let times = seen.entry(command.idempotency_key()).or_default();
    times.fetch_add(1, Ordering::SeqCst) == 0
}

fn succeeded(output: Value) -> Outcome {
    Outcome::Succeeded { output }
}

/// A command has all that the attempt says, its deadline and where to reply to.
pub(crate) async fn a_command_arrives_with_every_field(bed: &Bed) {
    let mut sent = attempt("charge");
    sent.number = 3;
    sent.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    sent.tracestate = Some("vendor=1".to_owned());
    sent.request.headers = vec![("x-tenant".to_owned(), "blue".to_owned())];
    let data = json!({ "text": "ä\u{0}\u{fffe}\"\n", "deep": [[{ "a": null }]], "n": 1.5e300 });
    sent.request.body = Some(data.to_string());
    sent.timeout_ms = Some(19_000);
    let before = now();
    assert_eq!(bed.outcome(&sent).await, succeeded(data.clone()));

    let given = bed.given_to(sent.saga);
    let [command] = &given[..] else {
        panic!("it was given {} times", given.len());
    };
    assert_eq!(command.name, "charge");
    assert_eq!(command.definition, *sent.definition);
    assert_eq!(command.step, *sent.step);
    assert_eq!((command.phase, command.attempt), (Phase::Action, 3));
    assert_eq!(command.action_outcome, None);
    assert_eq!(command.reply_to, ReplyTo::Queue(bed.replies().to_owned()));
    assert_eq!(command.fence, 7);
    assert_eq!(command.traceparent, sent.traceparent);
    assert_eq!(command.tracestate, sent.tracestate);
    assert_eq!(serde_json::from_str::<Value>(&command.data).unwrap(), data);
    // Messages tell whole milliseconds.
    assert!(command.deadline >= before.plus_ms(19_000));
    assert!(command.deadline <= now().plus_ms(19_000));
    if bed.way.is_broker() {
        let reply = bed.reply_to(&sent).unwrap();
        assert_eq!(reply.id, format!("{}:3", command.idempotency_key()));
        assert_eq!(reply.source, "/payment");
        assert_eq!(*bed.published.lock(), [PublishResult::Confirmed]);
    }
}

/// A compensation is its own call of the step.
pub(crate) async fn a_compensation_says_what_became_of_the_action(bed: &Bed) {
    let action = attempt("charge");
    for known in [
        ActionOutcome::Succeeded,
        ActionOutcome::Unknown,
        ActionOutcome::Refused,
    ] {
        let undoing = Attempt {
            saga: attempt("").saga,
            phase: Phase::Compensation,
            action_outcome: Some(known),
            ..action.clone()
        };
        let amount = json!({ "amount": 40 });
        assert_eq!(bed.outcome(&undoing).await, succeeded(amount));
        let given = bed.given_to(undoing.saga);
        assert_eq!(given[0].phase, Phase::Compensation);
        assert_eq!(given[0].action_outcome, Some(known));
    }
}

/// Succeeded, refused and retry are what the participant said, word for word.
pub(crate) async fn every_outcome_comes_back(bed: &Bed) {
    for data in [json!(null), json!("text"), json!([1, { "a": true }])] {
        let mut sent = attempt("charge");
        sent.request.body = Some(data.to_string());
        assert_eq!(bed.outcome(&sent).await, succeeded(data));
    }
    let refused = Outcome::Refused(StepError::new("no_money", "the account is empty"));
    assert_eq!(bed.outcome(&attempt("refuse")).await, refused);
    let transient = Outcome::Transient {
        error: StepError::new("busy", "come back"),
        retry_after_ms: Some(1_500),
    };
    assert_eq!(bed.outcome(&attempt("retry")).await, transient);
}

/// What is answered late is answered, and others are meanwhile.
pub(crate) async fn a_slow_participant_holds_up_nobody(bed: &Bed) {
    let slow: Vec<Attempt> = (0..5).map(|_| attempt("slow")).collect();
    let begun = Instant::now();
    let all_slow = async {
        let outcomes = join_all(slow.iter().map(|sent| bed.outcome(sent))).await;
        (outcomes, begun.elapsed())
    };
    let quick = async {
        eventually("the slow ones to be given", PATIENCE, async || {
            (bed.given.lock().len() >= 5).then_some(())
        })
        .await;
        let outcome = bed.outcome(&attempt("charge")).await;
        (outcome, begun.elapsed())
    };
    let ((outcomes, slow_took), (outcome, quick_took)) = tokio::join!(all_slow, quick);
    assert_eq!(outcome, succeeded(json!({ "amount": 40 })));
    for outcome in outcomes {
        assert_eq!(outcome, succeeded(json!("at last")));
    }
    assert!(quick_took < slow_took, "{quick_took:?} and {slow_took:?}");
    assert!(slow_took >= SLOW);
    // One after the other they would take five times as long.
    assert!(slow_took < 4 * SLOW, "{slow_took:?}");
}

/// Whoever fails or breaks off at first gets the command again with the same key: out of the queue,
/// or by the step's next attempt where there is none.
pub(crate) async fn one_that_fails_gets_it_again(bed: &Bed) {
    for name in ["fail", "panic"] {
        let mut sent = attempt(name);
        let mut outcome = bed.outcome(&sent).await;
        if bed.way == Way::InProcess {
            let Outcome::Transient { error, .. } = &outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(error.code, "bad_answer");
            sent.number = 2;
            outcome = bed.outcome(&sent).await;
        }
        assert_eq!(outcome, succeeded(json!({ "amount": 40 })), "{name}");
        let given = bed.given_to(sent.saga);
        let attempts: Vec<u32> = given.iter().map(|command| command.attempt).collect();
        let expected = if bed.way.is_broker() { [1, 1] } else { [1, 2] };
        assert_eq!(attempts, expected, "{name}");
        assert_eq!(given[0].idempotency_key(), given[1].idempotency_key());
    }
}

/// A command that nobody takes is a dead letter of its queue with the whole message; in this process
/// the attempt fails.
pub(crate) async fn one_that_rejects_is_heard_of(bed: &Bed) {
    let sent = attempt("reject");
    let kind = match bed.way {
        Way::InProcess => {
            let outcome = bed.outcome(&sent).await;
            let Outcome::Transient { error, .. } = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(error.code, "bad_answer");
            return;
        }
        Way::RabbitMq => BrokerKind::RabbitMq,
        Way::Sqs => BrokerKind::Sqs,
    };
    let accepted = bed.dispatcher.send(Pass::free(), &sent, now()).await;
    assert!(matches!(accepted, Sent::Accepted { .. }), "{accepted:?}");
    let (origin, body) = eventually("a dead letter", PATIENCE, async || {
        bed.brought.lock().dead.first().cloned()
    })
    .await;
    let (reason, deliveries) = match kind {
        BrokerKind::RabbitMq => ("rejected", 1),
        BrokerKind::Sqs => ("max_receive_count", 5),
    };
    let expected = Origin::Dead {
        queue: bed.queue.clone(),
        reason: reason.to_owned(),
        deliveries,
    };
    assert_eq!(origin, expected);
    let dead = Command::from(message::Command::read(&body).unwrap());
    let given = bed.given_to(sent.saga);
    assert_eq!(given.len(), usize::try_from(deliveries).unwrap());
    assert_eq!(dead, given[0]);
    let behind: Vec<&str> = bed
        .dispatcher
        .behind(kind, &bed.queue)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(behind, ["payment"]);
    assert_eq!(bed.reply_to(&sent), None);
}

/// An attempt is over at its deadline, whatever the participant does; what it answers later is brought
/// where there is a way, and says what it did.
pub(crate) async fn a_deadline_passes_and_the_late_answer_changes_nothing(bed: &Bed) {
    let mut sent = attempt("slow");
    sent.timeout_ms = Some(500);
    let begun = Instant::now();
    let outcome = bed.outcome(&sent).await;
    let Outcome::Transient { error, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.code, "timeout");
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(450) && took < SLOW,
        "{took:?}"
    );
    if bed.way.is_broker() {
        let late = eventually("the late reply", PATIENCE, async || bed.reply_to(&sent)).await;
        let said = ReplyOutcome::Succeeded(json!("at last"));
        assert_eq!(late.outcome, said);
    }
    // The saga's own time is a deadline too.
    let mut sent = attempt("slow");
    sent.not_after = Some(now().plus_ms(400));
    let outcome = bed.outcome(&sent).await;
    assert!(matches!(outcome, Outcome::Transient { .. }), "{outcome:?}");
    // A queue may bring it later than that.
    let patience = if bed.way.is_broker() {
        PATIENCE
    } else {
        Duration::ZERO
    };
    let given = async || bed.given_to(sent.saga).into_iter().next();
    let given = eventually("the command", patience, given).await;
    assert_eq!(Some(given.deadline), sent.not_after);
}

/// Many at once: each is carried out, and each answer is its own.
pub(crate) async fn a_hundred_at_once_are_each_answered_once(bed: &Bed) {
    let sent: Vec<(Attempt, Value)> = (0..100)
        .map(|number| {
            let mut sent = attempt("charge");
            let data = json!({ "number": number });
            sent.request.body = Some(data.to_string());
            (sent, data)
        })
        .collect();
    let outcomes = join_all(sent.iter().map(|(sent, _)| bed.outcome(sent))).await;
    for ((_, data), outcome) in sent.iter().zip(outcomes) {
        assert_eq!(outcome, succeeded(data.clone()));
    }
    for (sent, data) in &sent {
        let given = bed.given_to(sent.saga);
        assert_eq!(given.len(), 1, "{data}");
    }
    if bed.way.is_broker() {
        let brought = bed.brought.lock();
        assert_eq!(brought.replies.len(), 100);
        assert!(brought.dead.is_empty());
    }
}

/// Where a queue has a limit, a command beyond it is a refusal, and nobody gets it.
pub(crate) async fn a_message_that_is_too_large_is_not_sent(bed: &Bed) {
    let mut sent = attempt("charge");
    let data = json!("x".repeat(1_100_000));
    sent.request.body = Some(data.to_string());
    let outcome = bed.outcome(&sent).await;
    match bed.way {
        Way::InProcess | Way::RabbitMq => assert!(outcome == succeeded(data)),
        Way::Sqs => {
            let Outcome::Refused(error) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(error.code, "message_too_large");
            assert!(error.message.contains("1048576"), "{}", error.message);
            assert_eq!(bed.given_to(sent.saga), []);
        }
    }
}
