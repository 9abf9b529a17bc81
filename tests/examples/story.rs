//! What every participant goes through. It has ten of something to give out, and so its effects
//! can be counted from outside: by what is left.

use amends::message::{Command, ReplyOutcome};
use amends::participant::{ActionOutcome, Phase, SagaId, Timestamp};
use serde_json::Value;

/// An example under test.
pub(crate) trait Participant {
    /// The name of the action, and of what undoes it.
    const COMMANDS: (&'static str, &'static str);
    /// The code of its refusal when there is not enough left.
    const NOT_ENOUGH: &'static str;
    /// Input for so many of ten.
    fn input(of_ten: u32) -> Value;
    /// Sends all of these at once, and waits for their answers, which come in any order.
    async fn ask(&mut self, commands: Vec<Command>) -> Vec<ReplyOutcome>;
    /// Kills it and starts it again.
    async fn restart(&mut self);
}

fn saga(number: u128) -> SagaId {
    SagaId(uuid::Uuid::from_u128(number))
}

pub(crate) fn command<P: Participant>(number: u128, phase: Phase, data: Value) -> Command {
    let (action, compensation) = P::COMMANDS;
    let name = match phase {
        Phase::Action => action,
        Phase::Compensation => compensation,
    };
    Command {
        name: name.to_owned(),
        saga: saga(number),
        definition: "order/1".to_owned(),
        step: "take".to_owned(),
        phase,
        attempt: 1,
        action_outcome: (phase == Phase::Compensation).then_some(ActionOutcome::Unknown),
        reply_to: String::new(),
        time: Timestamp(1_795_000_000_000),
        deadline: Timestamp(1_795_000_010_000),
        fence: 1,
        traceparent: None,
        tracestate: None,
        data: data.to_string(),
    }
}

struct Story<'a, P>(&'a mut P);

impl<P: Participant> Story<'_, P> {
    async fn one(&mut self, command: Command) -> ReplyOutcome {
        let mut answers = self.0.ask(vec![command]).await;
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    async fn take(&mut self, number: u128, of_ten: u32) -> ReplyOutcome {
        self.one(command::<P>(number, Phase::Action, P::input(of_ten)))
            .await
    }

    /// What it refused with.
    async fn refused(&mut self, number: u128, of_ten: u32) -> String {
        match self.take(number, of_ten).await {
            ReplyOutcome::Refused(error) => error.code,
            other @ (ReplyOutcome::Succeeded(_) | ReplyOutcome::Retry { .. }) => {
                panic!("saga {number} was not refused: {other:?}")
            }
        }
    }

    async fn taken(&mut self, number: u128, of_ten: u32) -> Value {
        match self.take(number, of_ten).await {
            ReplyOutcome::Succeeded(output) => output,
            other @ (ReplyOutcome::Refused(_) | ReplyOutcome::Retry { .. }) => {
                panic!("saga {number} was not done: {other:?}")
            }
        }
    }

    async fn undo(&mut self, number: u128) {
        let undo = command::<P>(number, Phase::Compensation, Value::Null);
        assert_eq!(self.one(undo).await, ReplyOutcome::Succeeded(Value::Null));
    }

    /// Exactly so many are left; taken and given back.
    async fn left(&mut self, number: u128, of_ten: u32) {
        assert_eq!(self.refused(number, of_ten + 1).await, P::NOT_ENOUGH);
        if of_ten > 0 {
            self.taken(number + 1, of_ten).await;
            self.undo(number + 1).await;
        }
    }
}

/// Every duty of a participant.
pub(crate) async fn is_a_good_participant(participant: &mut impl Participant) {
    is_good(Story(participant)).await;
}

async fn is_good<P: Participant>(mut story: Story<'_, P>) {
    // Idempotency: again and at once, it is one effect and one answer, also after a crash.
    let output = story.taken(1, 6).await;
    assert_eq!(story.taken(1, 6).await, output);
    story.0.restart().await;
    assert_eq!(story.taken(1, 6).await, output);
    story.left(100, 4).await;
    let copies = vec![command::<P>(2, Phase::Action, P::input(1)); 16];
    let answers = story.0.ask(copies).await;
    assert_eq!(answers.len(), 16);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert!(matches!(&answers[0], ReplyOutcome::Succeeded(output) if output.is_object()));
    story.left(110, 3).await;

    // A refusal is for good, though there would be enough by now; undoing it does nothing.
    assert_eq!(story.refused(3, 4).await, P::NOT_ENOUGH);
    story.undo(2).await;
    story.undo(2).await;
    assert_eq!(story.refused(3, 4).await, P::NOT_ENOUGH);
    story.undo(3).await;
    story.left(120, 4).await;

    // Empty compensation and no hanging: what was never done is not undone, and bars the action.
    story.undo(4).await;
    story.undo(4).await;
    for _ in 0..2 {
        assert_eq!(story.refused(4, 1).await, "compensated_first");
    }
    story.left(130, 4).await;

    // A late copy of what was undone.
    story.undo(1).await;
    assert_eq!(story.taken(1, 6).await, output);
    story.left(140, 10).await;

    // An action and its compensation at the same moment, whichever comes first.
    for number in 200..210 {
        let both = vec![
            command::<P>(number, Phase::Action, P::input(10)),
            command::<P>(number, Phase::Compensation, Value::Null),
        ];
        story.0.ask(both).await;
    }
    story.left(150, 10).await;

    let nonsense = command::<P>(5, Phase::Action, Value::from("nonsense"));
    let ReplyOutcome::Refused(error) = story.one(nonsense).await else {
        panic!("nonsense was not refused");
    };
    assert_eq!(error.code, "input_invalid");
}
