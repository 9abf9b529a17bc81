//! Sagas laid out for people.

use super::fact::{AuditView, SagaView, StepView};
use super::narrate::{duration, failure};
use super::output::{Output, Tone};

/// What became of a saga, in one line.
pub(super) fn closing(saga: &SagaView, output: &Output) -> String {
    let (symbol, tone) = mark(&saga.status);
    let took = saga
        .finished_at
        .map(|at| format!("in {}", duration(at - saga.created_at)));
    let detail = match (&saga.failure, &saga.output, &saga.output_error) {
        (Some(reason), _, _) => failure(reason),
        (None, _, Some(error)) => format!("without output: {error}"),
        (None, Some(result), None) if !result.is_null() => result.to_string(),
        (None, Some(_) | None, None) => String::new(),
    };
    let head = output.toned(tone, &format!("{symbol} {}", saga.status));
    let head = took.map_or(head.clone(), |took| format!("{head} {took}"));
    let told = format!("{head}  {}", output.toned(Tone::Faint, &detail));
    told.trim_end().to_owned()
}

/// The symbol and the tone of a status, a saga's or a step's.
pub(super) fn mark(status: &str) -> (&'static str, Tone) {
    match status {
        "completed" | "succeeded" => ("✓", Tone::Good),
        "failed" | "refused" | "compensation_failed" => ("✗", Tone::Bad),
        "compensating" | "compensated" => ("↺", Tone::Undone),
        "unknown" => ("?", Tone::Doubt),
        "waiting" => ("…", Tone::Doubt),
        "running" => ("→", Tone::Plain),
        _ => ("·", Tone::Faint),
    }
}

/// A saga with its steps.
pub(super) fn saga(saga: &SagaView, output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    let (symbol, tone) = mark(&saga.status);
    let status = [
        Some(saga.status.as_str()),
        saga.suspended.then_some("suspended"),
        saga.overdue.then_some("overdue"),
    ];
    let status = status.into_iter().flatten().collect::<Vec<_>>().join(", ");
    lines.push(format!(
        "{} {}",
        output.toned(tone, symbol),
        output.toned(
            Tone::Strong,
            &format!("{} {}", saga.definition, saga.version)
        ),
    ));
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S%.3f").to_string();
    let labels = saga
        .labels
        .iter()
        .map(|(name, value)| format!("{name}:{value}"));
    let labels = labels.collect::<Vec<_>>().join(" ");
    let members = [
        ("id", Some(saga.id.clone())),
        ("status", Some(status)),
        ("key", saga.key.clone()),
        ("labels", Some(labels).filter(|labels| !labels.is_empty())),
        ("failure", saga.failure.as_ref().map(failure)),
        ("output", saga.output.as_ref().map(ToString::to_string)),
        ("no output", saga.output_error.clone()),
        ("started", Some(time(saga.created_at))),
        (
            "updated",
            Some(time(saga.updated_at)).filter(|_| saga.finished_at.is_none()),
        ),
        ("finished", saga.finished_at.map(time)),
        ("deadline", saga.deadline.map(time)),
    ];
    for (name, value) in members {
        let Some(value) = value else { continue };
        lines.push(format!(
            "  {} {value}",
            output.toned(Tone::Faint, &format!("{name:<9}"))
        ));
    }
    if !saga.steps.is_empty() {
        lines.push(String::new());
        lines.extend(steps(&saga.steps, output));
    }
    lines
}

fn steps(steps: &[StepView], output: &Output) -> Vec<String> {
    let longest = |text: fn(&StepView) -> &str| {
        steps
            .iter()
            .map(|step| text(step).chars().count())
            .max()
            .unwrap_or(0)
    };
    let width = longest(|step| &step.id);
    let status_width = longest(|step| &step.status);
    let line = |step: &StepView| {
        let (symbol, tone) = mark(&step.status);
        let id = format!("{:<width$}", step.id);
        let status = format!("{:<status_width$}", step.status);
        let told = format!(
            "  {} {}  {}  {}",
            output.toned(tone, symbol),
            output.toned(Tone::Strong, &id),
            output.toned(tone, &status),
            output.toned(Tone::Faint, &remarks(step)),
        );
        told.trim_end().to_owned()
    };
    steps.iter().map(line).collect()
}

/// What else there is to say of a step.
fn remarks(step: &StepView) -> String {
    let times = |count: u32, what: &str| match count {
        0 | 1 => None,
        count => Some(format!("{count} {what}")),
    };
    let took = step
        .started_at
        .zip(step.finished_at)
        .map(|(from, to)| duration(to - from));
    let next = step
        .next_attempt_at
        .map(|at| format!("next at {}", at.format("%H:%M:%S%.3f")));
    let waits = step
        .waiting_for
        .as_deref()
        .map(|what| format!("waits for {what}"));
    let error = step
        .error
        .as_ref()
        .map(|error| format!("{} ({})", error.code, error.message));
    let said = [
        took,
        times(step.attempts, "attempts"),
        times(step.compensation_attempts, "attempts to undo"),
        waits,
        next,
        error,
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// A list of sagas, in columns.
pub(super) fn list(sagas: &[SagaView], output: &Output) -> Vec<String> {
    let definition = |saga: &SagaView| format!("{} {}", saga.definition, saga.version);
    let width = |text: &dyn Fn(&SagaView) -> usize| sagas.iter().map(text).max().unwrap_or(0);
    let definition_width = width(&|saga| definition(saga).chars().count());
    let key_width = width(&|saga| saga.key.as_deref().unwrap_or("-").chars().count());
    let line = |saga: &SagaView| {
        let (symbol, tone) = mark(&saga.status);
        let failure = saga.failure.as_ref().map(|failure| failure.code.clone());
        let told = format!(
            "{}  {} {}  {}  {:<definition_width$}  {:<key_width$}  {}",
            saga.id,
            output.toned(tone, symbol),
            output.toned(tone, &format!("{:<12}", saga.status)),
            output.toned(
                Tone::Faint,
                &saga.created_at.format("%Y-%m-%d %H:%M:%S").to_string()
            ),
            definition(saga),
            saga.key.as_deref().unwrap_or("-"),
            output.toned(Tone::Faint, &failure.unwrap_or_default()),
        );
        told.trim_end().to_owned()
    };
    sagas.iter().map(line).collect()
}

/// Entries of the audit, in columns: when, who, what, to what, and more about it.
pub(super) fn audit(entries: &[AuditView], output: &Output) -> Vec<String> {
    let width = |text: &dyn Fn(&AuditView) -> usize| entries.iter().map(text).max().unwrap_or(0);
    let actor = |entry: &AuditView| match &entry.remote {
        Some(remote) => format!("{} ({remote})", entry.actor),
        None => entry.actor.clone(),
    };
    let actor_width = width(&|entry| actor(entry).chars().count());
    let action_width = width(&|entry| entry.action.len());
    let line = |entry: &AuditView| {
        let about = [&entry.saga, &entry.definition, &entry.step];
        let about = about.into_iter().flatten().map(String::as_str);
        let more = entry.detail.iter().map(|(name, value)| {
            let text = value.as_str().map(str::to_owned);
            format!("{name}: {}", text.unwrap_or_else(|| value.to_string()))
        });
        let told = format!(
            "{}  {:<actor_width$}  {}  {}  {}",
            output.toned(
                Tone::Faint,
                &entry.at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
            ),
            actor(entry),
            output.toned(Tone::Strong, &format!("{:<action_width$}", entry.action)),
            about.collect::<Vec<_>>().join(" "),
            output.toned(Tone::Faint, &more.collect::<Vec<_>>().join(" · ")),
        );
        told.trim_end().to_owned()
    };
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(members: Value) -> SagaView {
        let mut saga = json!({
            "id": "0198c7c4-aaaa-7000-8000-000000000000", "definition": "order", "version": 2,
            "key": "ORD-1", "labels": { "channel": "web" }, "status": "completed",
            "suspended": false, "overdue": false, "input": {}, "output": null,
            "output_error": null, "failure": null, "created_at": "2026-11-21T09:30:00.000Z",
            "updated_at": "2026-11-21T09:30:01.000Z", "finished_at": "2026-11-21T09:30:01.500Z",
            "deadline": null,
        });
        saga.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        serde_json::from_value(saga).unwrap()
    }

    #[test]
    fn the_end_of_a_saga_is_one_line() {
        let output = Output::plain();
        let completed = view(json!({ "output": { "tracking": "T1" } }));
        assert_eq!(
            closing(&completed, &output),
            "✓ completed in 1.5 s  {\"tracking\":\"T1\"}"
        );
        let failure = json!({ "step": "pay", "code": "declined", "message": "no money" });
        let undone = view(json!({ "status": "compensated", "failure": failure }));
        assert_eq!(
            closing(&undone, &output),
            "↺ compensated in 1.5 s  pay: declined (no money)"
        );
        let failed = view(json!({ "status": "failed", "failure": failure, "finished_at": null }));
        assert_eq!(
            closing(&failed, &output),
            "✗ failed  pay: declined (no money)"
        );
    }

    #[test]
    fn a_saga_is_laid_out() {
        let steps = json!([
            {
                "id": "reserve", "status": "succeeded", "attempts": 1, "compensation_attempts": 0,
                "started_at": "2026-11-21T09:30:00.000Z", "finished_at": "2026-11-21T09:30:00.020Z",
                "next_attempt_at": null, "waiting_for": null, "output": {}, "error": null,
            },
            {
                "id": "pay", "status": "waiting", "attempts": 2, "compensation_attempts": 0,
                "started_at": "2026-11-21T09:30:00.020Z", "finished_at": null,
                "next_attempt_at": "2026-11-21T09:30:02.000Z", "waiting_for": "retry",
                "output": null, "error": { "code": "http_503", "message": "busy" },
            },
        ]);
        let running = view(json!({ "status": "running", "finished_at": null, "steps": steps }));
        assert_eq!(
            saga(&running, &Output::plain()).join("\n"),
            "
→ order 2
  id        0198c7c4-aaaa-7000-8000-000000000000
  status    running
  key       ORD-1
  labels    channel:web
  started   2026-11-21 09:30:00.000
  updated   2026-11-21 09:30:01.000

  ✓ reserve  succeeded  20 ms
  … pay      waiting    2 attempts · waits for retry · next at 09:30:02.000 · http_503 (busy)"
                .trim_start_matches('\n')
        );
    }

    #[test]
    fn the_audit_has_columns() {
        let entry = |members: Value| {
            let mut entry = json!({
                "seq": 1, "at": "2026-11-21T09:30:00.123Z", "actor": "system",
                "action": "SAGA_COMPLETED", "saga": "0198c7c4-aaaa-7000-8000-000000000000",
                "definition": "order/2", "step": null, "detail": {}, "remote": null,
            });
            let members = members.as_object().unwrap().clone();
            entry.as_object_mut().unwrap().extend(members);
            serde_json::from_value::<AuditView>(entry).unwrap()
        };
        let rows = [
            entry(json!({})),
            entry(json!({
                "actor": "ann", "action": "STEP_RESOLVED", "step": "ship", "remote": "::1",
                "detail": { "outcome": "succeeded", "note": "by courier", "attempt": 2 },
            })),
            entry(json!({ "action": "REPLICA_STARTED", "saga": null, "definition": null })),
        ];
        assert_eq!(
            audit(&rows, &Output::plain()),
            [
                "2026-11-21 09:30:00.123  system     SAGA_COMPLETED   \
                 0198c7c4-aaaa-7000-8000-000000000000 order/2",
                "2026-11-21 09:30:00.123  ann (::1)  STEP_RESOLVED    \
                 0198c7c4-aaaa-7000-8000-000000000000 order/2 ship  \
                 outcome: succeeded · note: by courier · attempt: 2",
                "2026-11-21 09:30:00.123  system     REPLICA_STARTED",
            ]
        );
    }

    #[test]
    fn a_list_has_columns() {
        let rows = [
            view(json!({})),
            view(json!({ "key": null, "status": "compensating" })),
        ];
        assert_eq!(
            list(&rows, &Output::plain()),
            [
                "0198c7c4-aaaa-7000-8000-000000000000  ✓ completed     2026-11-21 09:30:00  order 2  ORD-1",
                "0198c7c4-aaaa-7000-8000-000000000000  ↺ compensating  2026-11-21 09:30:00  order 2  -",
            ]
        );
    }
}
