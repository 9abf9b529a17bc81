//! The compiled form of a definition: what is left once a document has been read and checked.
//!
//! Everything here is immutable and shared (`Arc<Definition>`); steps are named by their
//! [`StepIndex`], their place in the document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expression::{Condition, Template};
use super::input::InputSchema;
use super::request::Call;

/// The place of a step in its definition, from 0. Stable, because a published version never
/// changes; the journal names steps by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIndex(pub u16);

impl StepIndex {
    /// The index as an offset into a slice of steps.
    #[must_use]
    pub fn offset(self) -> usize {
        usize::from(self.0)
    }
}

/// A checked and compiled saga definition.
#[derive(Debug)]
pub struct Definition {
    /// The definition's name, `[a-z][a-z0-9_]{0,62}`.
    pub name: String,
    /// The version, from 1.
    pub version: u32,
    /// For people.
    pub description: Option<String>,
    /// Labels that every saga started from this definition carries.
    pub labels: BTreeMap<String, String>,
    /// What the input must look like; `None` takes any JSON.
    pub input: Option<InputSchema>,
    /// The longest the saga may run forward, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The order in which steps are undone.
    pub compensation_order: CompensationOrder,
    /// What happens to the other compensations when one cannot be done.
    pub on_compensation_failure: OnCompensationFailure,
    /// The steps in the order of the document, 1 to 500.
    pub steps: Vec<Step>,
    /// Every step once, each after all that its `after` names.
    pub topological: Vec<StepIndex>,
    /// The point of no return.
    pub pivot: Option<StepIndex>,
    /// The saga's result; left out, it is the output of the last step listed.
    pub output: Option<Template>,
    /// The document as JSON, as it is stored and shown.
    pub document: Value,
}

impl Definition {
    /// The step at `index`. Indices come from this definition or from the journal of one of its
    /// sagas, so one that is out of range is answered with `None` and means a damaged journal.
    #[must_use]
    pub fn step(&self, index: StepIndex) -> Option<&Step> {
        self.steps.get(index.offset())
    }

    /// The index of the step called `id`.
    #[must_use]
    pub fn step_named(&self, id: &str) -> Option<StepIndex> {
        self.steps.iter().find(|step| step.id == id).map(|step| step.index)
    }

    /// Whether any `wait` step takes signals of this name.
    #[must_use]
    pub fn has_signal(&self, name: &str) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(&step.kind, StepKind::Wait(wait) if wait.signal == name))
    }

    /// `name/version`, as the wire's `Amends-Definition` has it.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

/// One step of a definition.
#[derive(Debug)]
pub struct Step {
    /// The step's id in the document.
    pub id: String,
    /// Its place in the document.
    pub index: StepIndex,
    /// The steps that must have ended before this one starts.
    pub after: Vec<StepIndex>,
    /// The steps whose `after` names this one.
    pub followers: Vec<StepIndex>,
    /// On which side of the pivot it lies.
    pub position: Position,
    /// When it gives false, the step is skipped.
    pub when: Option<Condition>,
    /// What its failure does to the saga.
    pub on_failure: OnFailure,
    /// What the step does.
    pub kind: StepKind,
}

impl Step {
    /// The step's action, when it has one.
    #[must_use]
    pub fn action(&self) -> Option<&Action> {
        match &self.kind {
            StepKind::Action(action) => Some(action),
            StepKind::Wait(_) | StepKind::Delay(_) => None,
        }
    }

    /// The step's compensation, when it declares one.
    #[must_use]
    pub fn compensation(&self) -> Option<&Compensation> {
        self.action().and_then(|action| action.compensation.as_ref())
    }
}

/// Where a step lies. In a saga without a pivot every step is `Before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Its failure turns the saga back.
    Before,
    /// The point of no return itself.
    Pivot,
    /// Retried until it succeeds.
    After,
}

/// What a step's failure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The saga is compensated.
    Compensate,
    /// The saga goes on without the step; its output is null.
    Continue,
}

/// The kinds of step.
#[derive(Debug)]
pub enum StepKind {
    /// A participant is asked to do something.
    Action(Box<Action>),
    /// The saga waits for a signal.
    Wait(Wait),
    /// The saga waits for a time.
    Delay(Delay),
}

/// An action and what belongs to it.
#[derive(Debug)]
pub struct Action {
    /// The participant's name in the configuration.
    pub participant: String,
    /// What is asked.
    pub call: Call,
    /// What undoes it.
    pub compensation: Option<Compensation>,
    /// The longest one attempt may take, in milliseconds; else the participant's, else 30 s.
    pub timeout_ms: Option<u64>,
    /// How transient outcomes are retried.
    pub retry: RetryPolicy,
    /// Whether the answer is the outcome or only accepts the request.
    pub reply: ReplyMode,
    /// Whether a refusal is undone too.
    pub compensate: Compensate,
    /// Statuses that are read as a refusal; wins over `retry_on`.
    pub refuse_on: Vec<StatusPattern>,
    /// Statuses that are read as transient.
    pub retry_on: Vec<StatusPattern>,
}

/// What undoes an action.
#[derive(Debug)]
pub struct Compensation {
    /// What is asked of the participant.
    pub call: Call,
    /// When it gives false, there is nothing to undo and the step counts as compensated.
    pub when: Option<Condition>,
    /// How it is retried.
    pub retry: RetryPolicy,
    /// The longest one attempt may take, in milliseconds (30 s by default).
    pub timeout_ms: u64,
}

/// A step that waits for a signal; the signal's payload is its output.
#[derive(Debug)]
pub struct Wait {
    /// The signal's name.
    pub signal: String,
    /// Past it the step is refused with `wait_timed_out`.
    pub timeout_ms: Option<u64>,
}

/// A step that waits for a time.
#[derive(Debug)]
pub enum Delay {
    /// So many milliseconds from the step's start.
    For(u64),
    /// A template that gives a duration or an RFC 3339 time.
    Computed(Template),
}

/// How an HTTP participant's answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// The answer is the outcome.
    Sync,
    /// A 202 only accepts; the outcome comes later to the callback.
    Async,
}

/// When an action is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compensate {
    /// When it succeeded or its outcome is unknown.
    Done,
    /// After a refusal too.
    Always,
}

/// A status, or a hundred of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPattern {
    /// `409`
    Exact(u16),
    /// `4xx`, kept as its first digit.
    Class(u16),
}

impl StatusPattern {
    /// Whether `status` is one of those meant.
    #[must_use]
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::Exact(exact) => exact == status,
            Self::Class(class) => status / 100 == class,
        }
    }
}

/// The order in which steps are undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompensationOrder {
    /// A step is undone when everything that came after it is.
    Reverse,
    /// One at a time, in the reverse order of completion.
    Sequential,
    /// All at once.
    Parallel,
}

/// What happens when a compensation cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCompensationFailure {
    /// What would come next waits.
    Halt,
    /// The others are undone all the same.
    Continue,
}

/// How often and how soon something is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts_max: u32,
    /// The wait before the second attempt, in milliseconds.
    pub initial_ms: u64,
    /// By how much each wait is longer than the one before.
    pub multiplier: f64,
    /// The longest wait, in milliseconds.
    pub max_ms: u64,
    /// How chance spreads the waits.
    pub jitter: JitterKind,
}

/// How chance spreads the waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JitterKind {
    /// Exactly the computed wait.
    None,
    /// Half the wait, and up to half of it more.
    Equal,
    /// Anything from nothing to the wait ("full jitter", AWS Architecture Blog, 2015).
    Full,
}

impl RetryPolicy {
    /// The built-in policy of actions (execution.md, "Retry").
    pub const ACTION: Self = Self {
        attempts_max: 5,
        initial_ms: 100,
        multiplier: 2.0,
        max_ms: 30_000,
        jitter: JitterKind::Full,
    };

    /// The built-in policy of compensations: they have to succeed, so they are tried longer.
    pub const COMPENSATION: Self = Self { attempts_max: 20, max_ms: 300_000, ..Self::ACTION };

    /// The wait in milliseconds after attempt `attempt` (from 1) failed; `draw` in [0, 1) is the
    /// chance that the caller drew.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the product is clamped to 0..=max_ms, which is far below 2^53"
    )]
    pub fn delay_ms(&self, attempt: u32, draw: f64) -> u64 {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let bound = (self.initial_ms as f64 * self.multiplier.powi(exponent))
            .min(self.max_ms as f64)
            .max(0.0);
        let draw = draw.clamp(0.0, 1.0);
        let waited = match self.jitter {
            JitterKind::None => bound,
            JitterKind::Equal => bound / 2.0 + bound / 2.0 * draw,
            JitterKind::Full => bound * draw,
        };
        waited as u64
    }
}
