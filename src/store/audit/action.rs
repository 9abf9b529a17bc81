//! What can be audited: a closed set of words (operations.md, "Audit actions").

use std::fmt;
use std::str::FromStr;

/// Makes the enum, its list and its words from one table.
macro_rules! actions {
    ($($(#[$doc:meta])+ $name:ident = $word:literal,)+) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AuditAction {
            $($(#[$doc])+ $name,)+
        }

        impl AuditAction {
            /// Every action.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$name),+];

            /// The word on the wire and in the table.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

actions! {
    /// A saga was accepted.
    SagaStarted = "SAGA_STARTED",
    /// Every step of a saga has ended.
    SagaCompleted = "SAGA_COMPLETED",
    /// A saga turned back.
    SagaCompensating = "SAGA_COMPENSATING",
    /// A participant has undone a step.
    CompensationExecuted = "COMPENSATION_EXECUTED",
    /// Everything that was due to be undone is.
    SagaCompensated = "SAGA_COMPENSATED",
    /// A saga can go neither forward nor back without a person.
    SagaFailed = "SAGA_FAILED",
    /// Somebody told a saga to turn back.
    SagaCancelled = "SAGA_CANCELLED",
    /// A saga's time was up after its pivot.
    SagaOverdue = "SAGA_OVERDUE",
    /// Somebody suspended a saga.
    SagaSuspended = "SAGA_SUSPENDED",
    /// Somebody let a saga go on.
    SagaResumed = "SAGA_RESUMED",
    /// Somebody had what stopped a saga tried again.
    SagaRetried = "SAGA_RETRIED",
    /// Somebody settled a step by hand.
    StepResolved = "STEP_RESOLVED",
    /// Somebody sent a signal.
    SignalReceived = "SIGNAL_RECEIVED",
    /// A participant says that it has done what it was told to undo.
    LateSuccess = "LATE_SUCCESS",
    /// A version of a definition was published.
    DefinitionPublished = "DEFINITION_PUBLISHED",
    /// A definition takes no new starts.
    DefinitionPaused = "DEFINITION_PAUSED",
    /// A definition takes new starts again.
    DefinitionResumed = "DEFINITION_RESUMED",
    /// A dead letter was sent again.
    DeadLetterReplayed = "DEAD_LETTER_REPLAYED",
    /// A dead letter was given up.
    DeadLetterDiscarded = "DEAD_LETTER_DISCARDED",
    /// A replica took its lease.
    ReplicaStarted = "REPLICA_STARTED",
    /// A replica has stopped, and everything under way was left in good order.
    ReplicaDrained = "REPLICA_DRAINED",
    /// A caller was turned away.
    SecurityViolation = "SECURITY_VIOLATION",
}

/// A word that is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no audit action is called that")]
pub struct UnknownAction;

impl FromStr for AuditAction {
    type Err = UnknownAction;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == word)
            .ok_or(UnknownAction)
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditActions(u32);

impl AuditActions {
    /// All of them.
    pub const ALL: Self = Self((1 << AuditAction::ALL.len()) - 1);

    /// Whether the action is one of them.
    #[must_use]
    pub fn contains(self, action: AuditAction) -> bool {
        self.0 & bit(action) != 0
    }
}

impl FromIterator<AuditAction> for AuditActions {
    fn from_iter<T: IntoIterator<Item = AuditAction>>(actions: T) -> Self {
        Self(
            actions
                .into_iter()
                .fold(0, |bits, action| bits | bit(action)),
        )
    }
}

fn bit(action: AuditAction) -> u32 {
    1 << (action as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_its_action() {
        for action in AuditAction::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
            assert!(AuditActions::ALL.contains(action));
            assert!(!AuditActions::default().contains(action));
        }
        assert_eq!("SAGA_started".parse::<AuditAction>(), Err(UnknownAction));
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let set: AuditActions = [AuditAction::SagaFailed, AuditAction::SecurityViolation]
            .into_iter()
            .collect();
        let inside: Vec<_> = AuditAction::ALL
            .into_iter()
            .filter(|action| set.contains(*action))
            .collect();
        assert_eq!(
            inside,
            [AuditAction::SagaFailed, AuditAction::SecurityViolation]
        );
    }
}
