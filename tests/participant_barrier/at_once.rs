//! Commands that come at the same moment, to several processes of a service.

use std::sync::Arc;
use std::time::Duration;

use amends::participant::barrier::COMPENSATED_FIRST;
use amends::participant::{ActionOutcome, Barrier, Command, Phase, ReplyOutcome};
use serde_json::Value;
use support::database::Kind;
use tokio::sync::Barrier as Start;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::bed::{Bed, action, compensation, done, succeeded};

/// How long a command may be tried again.
const LONG: Duration = Duration::from_secs(60);

/// Sends the command until it has an answer for good, as a coordinator does.
async fn answered(barrier: &Barrier, command: &Command, what: &str) -> ReplyOutcome {
    let tries = async {
        loop {
            let said = barrier
                .run(command, async |t| {
                    // Where another one can slip in.
                    tokio::task::yield_now().await;
                    done(t, what).await
                })
                .await;
            if !matches!(said, ReplyOutcome::Retry { .. }) {
                return said;
            }
        }
    };
    timeout(LONG, tries).await.expect("an answer")
}

/// Gives all commands to the service at once, taking turns between two processes of it.
async fn all_at_once(bed: &Bed, commands: Vec<(Command, String)>) -> Vec<(Command, ReplyOutcome)> {
    let processes = [bed.barrier.clone(), bed.another().await];
    let start = Arc::new(Start::new(commands.len()));
    let mut running = JoinSet::new();
    for ((command, what), barrier) in commands.into_iter().zip(processes.iter().cycle().cloned()) {
        let start = Arc::clone(&start);
        running.spawn(async move {
            start.wait().await;
            let said = answered(&barrier, &command, &what).await;
            (command, said)
        });
    }
    running.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_copies_of_one_command_have_one_effect() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        for saga in 1..=5 {
            let what = format!("charge {saga}");
            let copies = vec![(action(saga), what.clone()); 24];
            for (_, said) in all_at_once(&bed, copies).await {
                assert_eq!(said, succeeded(&what), "{kind:?}");
            }
            assert_eq!(bed.count(&what).await, 1, "{kind:?}");
            let undo = compensation(saga, ActionOutcome::Succeeded);
            let what = format!("refund {saga}");
            let copies = vec![(undo, what.clone()); 24];
            for (_, said) in all_at_once(&bed, copies).await {
                assert_eq!(said, succeeded(&what), "{kind:?}");
            }
            assert_eq!(bed.count(&what).await, 1, "{kind:?}");
        }
    }
}

/// Whichever comes first, what was done is undone and what was not is barred.
async fn an_action_and_its_compensation_cancel_out(bed: &Bed, sagas: u128) -> (u64, u64) {
    let mut commands = Vec::new();
    for saga in 1..=sagas {
        let both = [
            (action(saga), format!("charge {saga}")),
            (
                compensation(saga, ActionOutcome::Unknown),
                format!("refund {saga}"),
            ),
        ];
        // Each twice, and sometimes the one before the other.
        for turn in 0..4 {
            let [a, b] = both.clone();
            commands.push(if (saga + turn) % 2 == 0 { a } else { b });
        }
    }
    let answers = all_at_once(bed, commands).await;
    let (mut undone, mut barred) = (0, 0);
    for saga in 1..=sagas {
        let charges = bed.count(&format!("charge {saga}")).await;
        let refunds = bed.count(&format!("refund {saga}")).await;
        assert_eq!(charges, refunds, "{:?}: saga {saga}", bed.kind);
        assert!(charges <= 1, "{:?}: saga {saga}: {charges}", bed.kind);
        let of_saga = answers
            .iter()
            .filter(|(command, _)| command.saga == action(saga).saga);
        for (command, said) in of_saga {
            match (command.phase, charges) {
                (Phase::Action, 0) => {
                    let ReplyOutcome::Refused(error) = said else {
                        panic!("{:?}: {said:?}", bed.kind);
                    };
                    assert_eq!(error.code, COMPENSATED_FIRST, "{:?}", bed.kind);
                }
                (Phase::Action, _) => assert_eq!(*said, succeeded(&format!("charge {saga}"))),
                (Phase::Compensation, 0) => {
                    assert_eq!(
                        *said,
                        ReplyOutcome::Succeeded(Value::Null),
                        "{:?}",
                        bed.kind
                    );
                }
                (Phase::Compensation, _) => assert_eq!(*said, succeeded(&format!("refund {saga}"))),
            }
        }
        *(if charges == 0 {
            &mut barred
        } else {
            &mut undone
        }) += 1;
    }
    (undone, barred)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_action_and_its_compensation_at_the_same_moment_cancel_out() {
    for kind in Kind::ALL {
        let bed = Bed::new(kind).await;
        let (undone, barred) = an_action_and_its_compensation_cancel_out(&bed, 40).await;
        // Else it would not have been the same moment.
        assert!(
            undone > 0 && barred > 0,
            "{kind:?}: {undone} undone, {barred} barred"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn other_isolation_levels_do_as_well() {
    for (kind, level) in [
        (Kind::Postgres, "repeatable%5C%20read"),
        (Kind::Postgres, "serializable"),
        (Kind::MariaDb, "READ COMMITTED"),
        (Kind::MariaDb, "SERIALIZABLE"),
    ] {
        let bed = Bed::isolated(kind, Some(level)).await;
        an_action_and_its_compensation_cancel_out(&bed, 20).await;
    }
}
