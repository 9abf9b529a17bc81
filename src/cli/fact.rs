//! What the API answers, as far as people are told of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// One fact of a saga's journal.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Fact {
    pub(super) at: DateTime<Utc>,
    pub(super) r#type: String,
    pub(super) step: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) error: Option<Reason>,
    pub(super) retry_at: Option<DateTime<Utc>>,
    pub(super) guard: Option<String>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) signal: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) resolution: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) note: Option<String>,
    pub(super) definition: Option<String>,
    pub(super) version: Option<u32>,
    pub(super) key: Option<String>,
}

/// Why something failed.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reason {
    pub(super) code: String,
    pub(super) message: String,
}

/// Why a saga turned back or stopped.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) step: Option<String>,
    pub(super) code: String,
    pub(super) message: String,
}

/// A saga, whole or its summary.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SagaView {
    pub(super) id: String,
    pub(super) definition: String,
    pub(super) version: u32,
    pub(super) key: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) status: String,
    pub(super) suspended: bool,
    pub(super) overdue: bool,
    pub(super) output: Option<Value>,
    pub(super) output_error: Option<String>,
    pub(super) failure: Option<Failure>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    pub(super) deadline: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) steps: Vec<StepView>,
}

/// A step of a saga.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StepView {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) attempts: u32,
    pub(super) compensation_attempts: u32,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    pub(super) waiting_for: Option<String>,
    pub(super) error: Option<Reason>,
}

/// An entry of the audit.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AuditView {
    pub(super) at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) saga: Option<String>,
    pub(super) definition: Option<String>,
    pub(super) step: Option<String>,
    pub(super) detail: serde_json::Map<String, Value>,
    pub(super) remote: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}
