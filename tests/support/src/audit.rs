//! What the audit has to say of a saga, worked out from its journal as anybody can read it; the
//! coordinator's own working-out is not asked.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::Api;

/// What is wrong with the audit of a saga: it has to tell exactly what its journal does, in the
/// same order, each thing once.
///
/// # Panics
/// When the coordinator does not answer.
pub async fn wrong_with(api: &Api, id: &str) -> Option<String> {
    let told = told(api, id).await;
    let expected = expected(&journal(api, id).await);
    let shown: Vec<Value> = told.iter().map(shown).collect();
    (shown != expected).then(|| {
        format!("the audit of {id} says {shown:#?}, and its journal makes that {expected:#?}")
    })
}

/// The audit of a saga, oldest first.
///
/// # Panics
/// When the coordinator does not answer.
pub async fn told(api: &Api, id: &str) -> Vec<Value> {
    let mut entries = all(api, &format!("/audit?saga={id}&limit=500")).await;
    entries.reverse();
    entries
}

/// The journal of a saga.
///
/// # Panics
/// When the coordinator does not answer.
pub async fn journal(api: &Api, id: &str) -> Vec<Value> {
    all(api, &format!("/sagas/{id}/events?limit=500")).await
}

/// All pages of a list.
async fn all(api: &Api, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = api
            .get(&format!("{path}{cursor}"))
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        items.extend(answer.body["items"].as_array().expect("items").clone());
        match answer.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// What is compared of an entry.
fn shown(entry: &Value) -> Value {
    json!({
        "at": entry["at"],
        "action": entry["action"],
        "actor": entry["actor"],
        "step": entry["step"],
        "code": entry["detail"]["code"],
        "remote": entry["remote"].is_string(),
    })
}

/// What the entries of a saga have to be, by its journal. Whoever called did so without a name.
fn expected(events: &[Value]) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut reading = Reading::default();
    for event in events {
        let Some((action, by)) = reading.action(event) else {
            continue;
        };
        let (actor, remote) = match by {
            By::Caller => (event["actor"].as_str().unwrap_or("anonymous"), true),
            By::System => ("system", false),
        };
        let code = match action {
            "SAGA_COMPENSATED" => json!(reading.cause),
            _ => event["failure"]["code"].clone(),
        };
        let step = match &event["failure"] {
            Value::Null => event["step"].clone(),
            failure => failure["step"].clone(),
        };
        entries.push(json!({
            "at": event["at"],
            "action": action,
            "actor": actor,
            "step": step,
            "code": code,
            "remote": remote,
        }));
    }
    entries
}

/// Who did what an event tells of.
#[derive(Clone, Copy)]
enum By {
    Caller,
    System,
}

/// What of the events so far says how the next is to be read.
#[derive(Default)]
struct Reading {
    /// Steps whose compensation was sent, and not answered so far.
    undoing: BTreeSet<String>,
    /// Steps of which nobody knows whether they were done.
    unknown: BTreeSet<String>,
    /// The code for which the saga turned back.
    cause: String,
    timed_out: bool,
    overdue: bool,
}

impl Reading {
    fn action(&mut self, event: &Value) -> Option<(&'static str, By)> {
        let step = event["step"].as_str().unwrap_or_default();
        let undo = event["phase"] == "compensation";
        match event["type"].as_str().expect("a type") {
            "saga_started" => Some(("SAGA_STARTED", By::Caller)),
            "saga_completed" => Some(("SAGA_COMPLETED", By::System)),
            "saga_compensating" => {
                let failure = &event["failure"];
                self.cause = failure["code"].as_str().expect("a code").to_owned();
                self.timed_out |= failure["step"].is_null() && self.cause == "timed_out";
                Some(("SAGA_COMPENSATING", By::System))
            }
            "attempt_started" if undo => {
                self.undoing.insert(step.to_owned());
                None
            }
            "attempt_failed" | "attempt_held" | "compensation_failed" => {
                self.undoing.remove(step);
                None
            }
            "step_unknown" => {
                self.unknown.insert(step.to_owned());
                None
            }
            "step_compensated" => {
                let sent = self.undoing.remove(step);
                sent.then_some(("COMPENSATION_EXECUTED", By::System))
            }
            "saga_compensated" => Some(("SAGA_COMPENSATED", By::System)),
            "saga_failed" => Some(("SAGA_FAILED", By::System)),
            "saga_cancelled" => Some(("SAGA_CANCELLED", By::Caller)),
            "saga_overdue" => {
                self.overdue = true;
                Some(("SAGA_OVERDUE", By::System))
            }
            "saga_went_forward" if self.timed_out && !self.overdue => {
                self.overdue = true;
                Some(("SAGA_OVERDUE", By::System))
            }
            "saga_suspended" => Some(("SAGA_SUSPENDED", By::Caller)),
            "saga_resumed" => Some(("SAGA_RESUMED", By::Caller)),
            "saga_retried" => Some(("SAGA_RETRIED", By::Caller)),
            "step_resolved" => Some(("STEP_RESOLVED", By::Caller)),
            "signal_received" => Some(("SIGNAL_RECEIVED", By::Caller)),
            "late_reply" if !undo && event["outcome"] == "succeeded" => {
                let unknown = self.unknown.contains(step);
                unknown.then_some(("LATE_SUCCESS", By::System))
            }
            _ => None,
        }
    }
}
