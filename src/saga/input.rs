//! What may reach a saga, and why it may be turned away.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Resolution;
use super::guard::Guard;
use super::id::Timestamp;
use super::outcome::{Outcome, StepError};
use super::state::InFlight;
use crate::definition::StepIndex;
use crate::definition::request::Phase;

/// Something that reaches a saga.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An attempt came to an end.
    Attempt(Attempted),
    /// A guard holds an attempt back that has begun by the journal: nothing was sent, so it was none.
    Held(HeldBack),
    /// The guard that held an attempt back lets it through, before its time to wake up at.
    LetThrough {
        /// The step.
        step: StepIndex,
        /// Which of its calls.
        phase: Phase,
    },
    /// Somebody has an attempt for good, and a reply will tell what came of it.
    Accepted {
        /// Which attempt.
        call: InFlight,
        /// When it is given up.
        until: Timestamp,
    },
    /// A participant says what came of a step.
    Reply(Replied),
    /// No consumer could take the command of an attempt.
    DeadLettered(DeadLettered),
    /// Some of its times may have come.
    Wake {
        /// Chance in [0, 1), for the waits before the next attempts.
        draw: f64,
    },
    /// A signal.
    Signal {
        /// Its name.
        name: String,
        /// What came with it.
        payload: Value,
        /// Makes it once.
        key: Option<String>,
        /// Who sent it.
        actor: String,
    },
    /// A person's command.
    Command {
        /// What is to be done.
        command: Command,
        /// Who wants it.
        actor: String,
    },
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    /// The step.
    pub step: StepIndex,
    /// Which of its calls.
    pub phase: Phase,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// Chance in [0, 1), drawn outside, for the wait before the next attempt.
    pub draw: f64,
}

/// What a participant says of a step, whichever attempt it was asked by.
#[derive(Clone, Debug, PartialEq)]
pub struct Replied {
    /// The reply's own id: the same one twice is one reply.
    pub id: String,
    /// The step.
    pub step: StepIndex,
    /// Which of its calls.
    pub phase: Phase,
    /// What came of it.
    pub outcome: Outcome,
    /// Chance in [0, 1), for the wait before the next attempt.
    pub draw: f64,
}

/// A command that no consumer could take.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLettered {
    /// The attempt that it was.
    pub call: InFlight,
    /// Why.
    pub error: StepError,
    /// What becomes of the step.
    pub fate: Fate,
    /// Chance in [0, 1), for the wait before the next attempt.
    pub draw: f64,
}

/// What becomes of a step whose command nobody could take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// A consumer may have died after its work, so nobody knows whether it was done.
    Unknown,
    /// It is tried again by the step's policy.
    Retried,
    /// It waits for an operator, or its time.
    Held,
}

/// An attempt that a guard holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Which attempt.
    pub call: InFlight,
    /// Which guard.
    pub guard: Guard,
    /// When it begins anew, if it is not let through before.
    pub until: Timestamp,
    /// Whether the owner before this one may have sent it.
    pub sent: bool,
}

/// What a person may ask of a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Turn back.
    Cancel {
        /// Why.
        reason: Option<String>,
    },
    /// Send nothing new.
    Suspend,
    /// Go on.
    Resume,
    /// Try what stopped it again.
    Retry,
    /// A step was settled by hand.
    Resolve {
        /// The step.
        step: StepIndex,
        /// How.
        resolution: Resolution,
        /// Why.
        note: String,
        /// Its output, with `succeeded`.
        #[serde(default)]
        output: Value,
    },
}

/// Why an input changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The saga is completed or compensated.
    #[error("the saga has finished")]
    AlreadyFinished,
    /// Its pivot has succeeded, so it only goes forward.
    #[error("the saga is past its pivot and only goes forward")]
    PastPivot,
    /// Only a failed saga can be retried.
    #[error("the saga has not failed")]
    NotFailed,
    /// The step's state does not allow that resolution.
    #[error("the step is not in a state that this outcome can settle")]
    NotResolvable,
    /// The step is none that a participant is asked for, or not in that phase.
    #[error("no participant is asked for that step and phase")]
    NothingAsked,
    /// The definition has no `wait` for a signal of that name.
    #[error("the definition waits for no signal of that name")]
    SignalUnknown,
    /// As many signals of the name are kept as may be.
    #[error("too many signals of that name are waiting to be taken")]
    TooManySignals,
}

/// How many ids of replies are kept for one step; of more, the newest.
pub const REPLIES_KEPT_MAX: usize = 100;
/// How many signals of one name are kept for one saga.
pub const SIGNALS_KEPT_MAX: usize = 100;
