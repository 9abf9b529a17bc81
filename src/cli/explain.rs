//! `amends explain`: why a saga stands where it stands.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::Verdict;
use super::arguments::OneSaga;
use super::error::CliError;
use super::fact::Reason;
use super::layout::mark;
use super::output::{Output, Tone};

/// What the API says of a saga.
#[derive(Clone, Debug, Deserialize)]
struct Explanation {
    status: String,
    summary: String,
    waiting: Vec<Waiting>,
    cancel: Cancel,
}

/// One thing on which a saga waits.
#[derive(Clone, Debug, Deserialize)]
struct Waiting {
    step: Option<String>,
    r#for: String,
    participant: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    attempt: Option<u32>,
    last_error: Option<Reason>,
}

/// What a cancel would do.
#[derive(Clone, Debug, Deserialize)]
struct Cancel {
    possible: bool,
    why_not: Option<String>,
    undoes: Vec<Vec<String>>,
}

/// `amends explain ID`
pub(super) async fn run(explain: OneSaga, mut output: Output) -> Result<Verdict, CliError> {
    let client = explain.connection.client()?;
    let path = ["sagas", &explain.id, "explain"];
    if explain.connection.json {
        let explanation: Value = client.get(&path, &[]).await?;
        output.json(&explanation)?;
        return Ok(Verdict::Yes);
    }
    let explanation: Explanation = client.get(&path, &[]).await?;
    for line in layout(&explanation, &output) {
        output.line(line)?;
    }
    Ok(Verdict::Yes)
}

fn layout(explanation: &Explanation, output: &Output) -> Vec<String> {
    let Explanation {
        status,
        summary,
        waiting,
        cancel,
    } = explanation;
    let (symbol, tone) = mark(status);
    let mut lines = vec![output.toned(tone, &format!("{symbol} {status}"))];
    // One sentence a line.
    let sentences = summary.split_inclusive(". ").map(str::trim_end);
    lines.extend(sentences.map(|sentence| format!("  {sentence}")));
    if !waiting.is_empty() {
        lines.push(String::new());
        let width = waiting.iter().map(|waiting| name(waiting).chars().count());
        let width = width.max().unwrap_or(0);
        lines.extend(waiting.iter().map(|waiting| line(waiting, width, output)));
    }
    lines.push(String::new());
    lines.push(format!("  {}", undo(cancel)));
    lines
}

fn name(waiting: &Waiting) -> &str {
    waiting.step.as_deref().unwrap_or("the saga")
}

fn line(waiting: &Waiting, width: usize, output: &Output) -> String {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S").to_string();
    let said = [
        waiting.participant.clone(),
        waiting.attempt.map(|attempt| format!("attempt {attempt}")),
        waiting.since.map(|at| format!("since {}", time(at))),
        waiting.until.map(|at| format!("until {}", time(at))),
        waiting
            .last_error
            .as_ref()
            .map(|error| format!("{} ({})", error.code, error.message)),
    ];
    let said = said.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let name = format!("{:<width$}", name(waiting));
    let told = format!(
        "  {} {}  waits for {}  {}",
        output.toned(Tone::Doubt, "…"),
        output.toned(Tone::Strong, &name),
        waiting.r#for,
        output.toned(Tone::Faint, &said),
    );
    told.trim_end().to_owned()
}

/// What a cancel would do, in a sentence.
fn undo(cancel: &Cancel) -> String {
    if !cancel.possible {
        let why = cancel.why_not.as_deref().unwrap_or("");
        return match why {
            "already_finished" => "There is nothing to cancel: it has finished.".to_owned(),
            "past_pivot" => "It cannot be cancelled: it is past its pivot.".to_owned(),
            "failed" => "A cancel changes nothing: it has failed.".to_owned(),
            other => format!("It cannot be cancelled ({other})."),
        };
    }
    let groups: Vec<String> = cancel
        .undoes
        .iter()
        .map(|group| group.join(" and "))
        .collect();
    if groups.is_empty() {
        "A cancel would undo nothing.".to_owned()
    } else {
        format!("A cancel would undo {}.", groups.join(", then "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_saga_is_explained() {
        let explanation = json!({
            "id": "0198c7c4-aaaa-7000-8000-000000000000", "status": "running",
            "summary": "Suspended: nothing new is sent until it is resumed. Waiting for payment: attempt 3 of charge begins in 12 s (the last answer was 503).",
            "waiting": [
                {
                    "step": "charge", "for": "retry", "participant": "payment",
                    "since": "2026-11-21T09:30:00.000Z", "until": "2026-11-21T09:30:12.000Z",
                    "attempt": 3, "last_error": { "code": "http_503", "message": "busy" },
                },
                {
                    "step": null, "for": "operator", "participant": null, "since": null,
                    "until": null, "attempt": null, "last_error": null,
                },
            ],
            "cancel": { "possible": true, "why_not": null, "undoes": [["charge", "book"], ["reserve"]] },
        });
        let explanation: Explanation = serde_json::from_value(explanation).unwrap();
        assert_eq!(
            layout(&explanation, &Output::plain()).join("\n"),
            "
→ running
  Suspended: nothing new is sent until it is resumed.
  Waiting for payment: attempt 3 of charge begins in 12 s (the last answer was 503).

  … charge    waits for retry  payment · attempt 3 · since 2026-11-21 09:30:00 · until 2026-11-21 09:30:12 · http_503 (busy)
  … the saga  waits for operator

  A cancel would undo charge and book, then reserve."
                .trim_start_matches('\n')
        );
    }

    #[test]
    fn what_a_cancel_would_do_is_said() {
        let said = |possible, why_not: Option<&str>| {
            undo(&Cancel {
                possible,
                why_not: why_not.map(str::to_owned),
                undoes: Vec::new(),
            })
        };
        assert_eq!(said(true, None), "A cancel would undo nothing.");
        for (word, sentence) in [
            (
                "already_finished",
                "There is nothing to cancel: it has finished.",
            ),
            (
                "past_pivot",
                "It cannot be cancelled: it is past its pivot.",
            ),
            ("failed", "A cancel changes nothing: it has failed."),
            (
                "journal_unreadable",
                "It cannot be cancelled (journal_unreadable).",
            ),
        ] {
            assert_eq!(said(false, Some(word)), sentence);
        }
    }
}
