//! What an attempt came to, and what became of an action.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one attempt at an action or a compensation came to (execution.md, "The outcome of an
/// attempt").
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The participant did it.
    Succeeded {
        /// What it answered.
        output: Value,
    },
    /// The participant did not do it and will not.
    Refused(StepError),
    /// It may or may not have been done; it is tried again.
    Transient {
        /// The last thing that went wrong.
        error: StepError,
        /// The least wait before the next attempt that the participant asked for, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// It was done or may have been, and trying again would not tell (`response_too_large`).
    Unknown(StepError),
}

impl Outcome {
    /// One that is tried again when the step's own policy says so.
    #[must_use]
    pub fn transient(error: StepError) -> Self {
        Self::Transient {
            error,
            retry_after_ms: None,
        }
    }

    /// Its word in the journal, in traces and in logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Refused(_) => "refused",
            Self::Transient { .. } => "transient",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why it was not done, where it was not.
    #[must_use]
    pub fn error(&self) -> Option<&StepError> {
        match self {
            Self::Succeeded { .. } => None,
            Self::Refused(error) | Self::Transient { error, .. } | Self::Unknown(error) => {
                Some(error)
            }
        }
    }
}

/// Why an attempt failed: a stable word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// A stable word that clients switch on.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl StepError {
    /// The longest `code` that is taken from a participant, in bytes; a longer one is no word to
    /// switch on.
    pub const CODE_BYTES_MAX: usize = 128;
    /// How much is kept of a participant's message, in characters.
    pub const MESSAGE_CHARS_MAX: usize = 2_000;

    /// An error with this code and sentence. Not every database takes the character NUL in a text,
    /// and what a participant or an input said may hold it: another stands for it.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: without_nul(code.into()),
            message: without_nul(message.into()),
        }
    }
}

fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

/// What became of an action, as its compensation is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionOutcome {
    /// It was done.
    Succeeded,
    /// It was not done.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl ActionOutcome {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// The status of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It goes forward.
    Running,
    /// It is being undone.
    Compensating,
    /// Done. Final.
    Completed,
    /// Undone. Final.
    Compensated,
    /// It can go neither forward nor back without a person.
    Failed,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Compensating,
        Self::Completed,
        Self::Compensated,
        Self::Failed,
    ];

    /// The word on the wire and in the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Failed => "failed",
        }
    }

    /// Completed or compensated: final.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }

    /// Finished or failed: whoever waits is answered.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self.is_finished() || self == Self::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_holds_what_every_database_takes() {
        let error = StepError::new("co\0de", "no \0 such key");
        assert_eq!(error.code, "co\u{fffd}de");
        assert_eq!(error.message, "no \u{fffd} such key");
    }
}
