//! What a step may count on whichever way its participant is reached: the same cases in this process,
//! over RabbitMQ and over SQS, at the level of the dispatcher.
//!
//! `AMENDS_TEST_RABBITMQ` and `AMENDS_TEST_SQS` say where the servers are; every test has names of its
//! own on them. What the emulator of SQS does not carry is said in tests/sqs/main.rs.
//!
//! Two things differ by nature, and the cases say where. In this process there is no queue that brings a
//! command again, and no dead letter: what a broker does there, the step's own retry does. And an attempt
//! in this process ends at once, where over a broker it is accepted and a reply ends it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may"
)]

mod bed;
mod cases;
#[path = "../rabbitmq/bed.rs"]
#[expect(dead_code, reason = "only a part of it is needed here")]
mod rabbitmq;
#[path = "../sqs/bed.rs"]
#[expect(dead_code, reason = "only a part of it is needed here")]
mod sqs;

/// Makes a test of each case for each way.
macro_rules! contract {
    ($($case:ident)+) => {$(
        mod $case {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_process() {
                crate::bed::run(crate::bed::Way::InProcess, crate::cases::$case).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn rabbitmq() {
                crate::bed::run(crate::bed::Way::RabbitMq, crate::cases::$case).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqs() {
                crate::bed::run(crate::bed::Way::Sqs, crate::cases::$case).await;
            }
        }
    )+};
}

contract! {
    a_command_arrives_with_every_field
    a_compensation_says_what_became_of_the_action
    every_outcome_comes_back
    a_slow_participant_holds_up_nobody
    one_that_fails_gets_it_again
    one_that_rejects_is_heard_of
    a_deadline_passes_and_the_late_answer_changes_nothing
    a_hundred_at_once_are_each_answered_once
    a_message_that_is_too_large_is_not_sent
}
