//! The facts of a saga told to a person, one line each: a symbol, the step, what became of it.
//!
//! `✓` done, `✗` not done, `↺` undone or being undone, `?` nobody knows, `→` under way, `…` waits.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::fact::{Fact, Failure, Reason};
use super::output::{Output, Tone};

/// Tells the facts of one saga in their order.
#[derive(Debug)]
pub(super) struct Narrator {
    clock: Clock,
    width: usize,
    origin: Option<DateTime<Utc>>,
    /// Attempts begun and when the newest was, by step and phase.
    attempts: BTreeMap<(String, bool), (u32, DateTime<Utc>)>,
}

/// Which time stands before a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The time of day, in UTC.
    Wall,
    /// Milliseconds since the saga began.
    Elapsed,
}

/// A fact in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    symbol: &'static str,
    tone: Tone,
    subject: String,
    text: String,
    aside: String,
}

impl Line {
    fn of(symbol: &'static str, tone: Tone, text: impl Into<String>) -> Self {
        let (subject, aside) = (String::new(), String::new());
        Self {
            symbol,
            tone,
            subject,
            text: text.into(),
            aside,
        }
    }

    fn aside(self, aside: impl Into<String>) -> Self {
        Self {
            aside: aside.into(),
            ..self
        }
    }
}

impl Narrator {
    /// Tells of a saga with these steps.
    pub(super) fn new<'a>(clock: Clock, steps: impl IntoIterator<Item = &'a str>) -> Self {
        let width = steps
            .into_iter()
            .map(|step| step.chars().count())
            .max()
            .unwrap_or(0);
        Self {
            clock,
            width,
            origin: None,
            attempts: BTreeMap::new(),
        }
    }

    /// A fact as it is printed; none when there is nothing to tell.
    pub(super) fn tell(&mut self, fact: &Fact, output: &Output) -> Option<String> {
        let origin = *self.origin.get_or_insert(fact.at);
        let line = self.line(fact)?;
        let time = match self.clock {
            Clock::Wall => fact.at.format("%H:%M:%S%.3f").to_string(),
            Clock::Elapsed => format!("{:>6} ms", (fact.at - origin).num_milliseconds()),
        };
        let subject = format!("{:<width$}", line.subject, width = self.width);
        let subject_tone = if line.subject.is_empty() {
            Tone::Plain
        } else {
            Tone::Strong
        };
        let told = format!(
            "{}  {} {}  {}  {}",
            output.toned(Tone::Faint, &time),
            output.toned(line.tone, line.symbol),
            output.toned(subject_tone, &subject),
            output.toned(line.tone, &line.text),
            output.toned(Tone::Faint, &line.aside),
        );
        Some(told.trim_end().to_owned())
    }

    /// A fact in words.
    fn line(&mut self, fact: &Fact) -> Option<Line> {
        let line = match &fact.step {
            Some(step) => self.line_of_step(step, fact),
            None => line_of_saga(fact),
        }?;
        Some(Line {
            subject: fact.step.clone().unwrap_or_default(),
            ..line
        })
    }

    fn line_of_step(&mut self, step: &str, fact: &Fact) -> Option<Line> {
        let because = fact.error.as_ref().map(reason).unwrap_or_default();
        let undoing = fact.phase.as_deref() == Some("compensation");
        Some(match fact.r#type.as_str() {
            "attempt_started" => self.attempt_started(step, undoing, fact.at),
            "attempt_failed" => {
                let wait = fact
                    .retry_at
                    .map(|at| duration(at - fact.at))
                    .unwrap_or_default();
                Line::of("…", Tone::Doubt, because).aside(format!("again in {wait}"))
            }
            "attempt_held" => self.attempt_held(step, undoing, fact),
            "attempt_accepted" => {
                let until = fact.until.map(|at| format!("until {}", moment(at)));
                Line::of("…", Tone::Doubt, "waits for the reply").aside(until.unwrap_or_default())
            }
            "attempt_dead_lettered" => {
                let what =
                    format!("nobody could take the command, an operator has to see: {because}");
                Line::of("!", Tone::Doubt, what)
            }
            "reply_taken" => return None,
            "wait_started" => {
                let until = fact.until.map(|at| format!("until {}", moment(at)));
                Line::of("…", Tone::Doubt, "waits for a signal").aside(until.unwrap_or_default())
            }
            "delay_started" => {
                let until = fact.until.map(|at| format!("until {}", moment(at)));
                Line::of("…", Tone::Doubt, "waits for its time").aside(until.unwrap_or_default())
            }
            "signal_taken" => {
                let signal = fact.signal.as_deref().unwrap_or("");
                Line::of("✓", Tone::Good, format!("got the signal `{signal}`"))
            }
            "step_succeeded" => {
                Line::of("✓", Tone::Good, "done").aside(self.took(step, false, fact.at))
            }
            "step_refused" => Line::of("✗", Tone::Bad, format!("refused: {because}")),
            "step_unknown" => Line::of(
                "?",
                Tone::Doubt,
                format!("nobody knows whether it was done: {because}"),
            ),
            "step_skipped" => Line::of("·", Tone::Faint, "skipped"),
            "step_compensated" => match self.took(step, true, fact.at) {
                took if took.is_empty() => Line::of("↺", Tone::Undone, "had nothing to undo"),
                took => Line::of("↺", Tone::Undone, "undone").aside(took),
            },
            "compensation_failed" => {
                Line::of("✗", Tone::Bad, format!("could not be undone: {because}"))
            }
            "step_resolved" => resolved(fact),
            "late_reply" => {
                let outcome = fact.outcome.as_deref().unwrap_or("");
                Line::of(
                    "·",
                    Tone::Faint,
                    format!("a late reply ({outcome}) was ignored"),
                )
            }
            other => Line::of("·", Tone::Faint, other.replace('_', " ")),
        })
    }

    fn attempt_started(&mut self, step: &str, undoing: bool, at: DateTime<Utc>) -> Line {
        let attempt = self
            .attempts
            .entry((step.to_owned(), undoing))
            .or_insert((0, at));
        *attempt = (attempt.0 + 1, at);
        let line = match (undoing, attempt.0) {
            (false, 1) => Line::of("→", Tone::Plain, "is asked"),
            (false, _) => Line::of("→", Tone::Plain, "is asked again"),
            (true, _) => Line::of("↺", Tone::Undone, "is being undone"),
        };
        let number = attempt.0;
        if number > 1 {
            line.aside(format!("attempt {number}"))
        } else {
            line
        }
    }

    /// An attempt that a guard took back: it was none.
    fn attempt_held(&mut self, step: &str, undoing: bool, fact: &Fact) -> Line {
        if let Some(attempt) = self.attempts.get_mut(&(step.to_owned(), undoing)) {
            attempt.0 = attempt.0.saturating_sub(1);
        }
        let guard = fact.guard.as_deref().unwrap_or("guard").replace('_', " ");
        let until = fact.until.map(|at| format!("until {}", moment(at)));
        Line::of("…", Tone::Doubt, format!("is held back by the {guard}"))
            .aside(until.unwrap_or_default())
    }

    /// How long the newest attempt took; nothing when there was none.
    fn took(&self, step: &str, undoing: bool, at: DateTime<Utc>) -> String {
        let attempt = self.attempts.get(&(step.to_owned(), undoing));
        attempt
            .map(|(_, begun)| duration(at - *begun))
            .unwrap_or_default()
    }
}

fn line_of_saga(fact: &Fact) -> Option<Line> {
    let by = |what: &str| match &fact.actor {
        Some(actor) => format!("{what} by {actor}"),
        None => what.to_owned(),
    };
    let because = fact.failure.as_ref().map(failure).unwrap_or_default();
    Some(match fact.r#type.as_str() {
        "saga_started" => {
            let definition = fact.definition.as_deref().unwrap_or("");
            let version = fact.version.unwrap_or(0);
            let key = fact
                .key
                .as_ref()
                .map(|key| format!("key {key}"))
                .unwrap_or_default();
            Line::of("·", Tone::Plain, format!("{definition} {version} begins")).aside(key)
        }
        "saga_compensating" => Line::of("↺", Tone::Undone, format!("turns back: {because}")),
        "saga_went_forward" => Line::of("→", Tone::Good, "goes forward after all"),
        "saga_overdue" => Line::of("…", Tone::Doubt, "its time is up, but it is past its pivot"),
        "saga_failed" => Line::of("✗", Tone::Bad, format!("failed: {because}"))
            .aside("a person has to decide: retry or resolve"),
        "saga_unblocked" => return None,
        // The closing line says so, and more.
        "saga_completed" | "saga_compensated" => return None,
        "saga_cancelled" => Line::of("·", Tone::Plain, by("cancelled"))
            .aside(fact.reason.clone().unwrap_or_default()),
        "saga_suspended" => Line::of("…", Tone::Doubt, by("suspended")),
        "saga_resumed" => Line::of("→", Tone::Plain, by("resumed")),
        "saga_retried" => Line::of("→", Tone::Plain, by("retried")),
        "signal_received" => {
            let signal = fact.signal.as_deref().unwrap_or("");
            Line::of("·", Tone::Plain, by(&format!("signal `{signal}` sent")))
        }
        other => Line::of("·", Tone::Faint, other.replace('_', " ")),
    })
}

fn resolved(fact: &Fact) -> Line {
    let resolution = fact.resolution.as_deref().unwrap_or("");
    let actor = fact.actor.as_deref().unwrap_or("");
    let line = Line::of(
        "·",
        Tone::Plain,
        format!("resolved as {resolution} by {actor}"),
    );
    line.aside(fact.note.clone().unwrap_or_default())
}

fn reason(reason: &Reason) -> String {
    sentence(&reason.code, &reason.message)
}

/// Why a saga turned back or stopped, in words.
pub(super) fn failure(failure: &Failure) -> String {
    let why = sentence(&failure.code, &failure.message);
    match &failure.step {
        Some(step) => format!("{step}: {why}"),
        None => why,
    }
}

fn sentence(code: &str, message: &str) -> String {
    if message.is_empty() {
        code.to_owned()
    } else {
        format!("{code} ({message})")
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A duration as people say it.
pub(super) fn duration(duration: chrono::TimeDelta) -> String {
    let ms = duration.num_milliseconds().max(0);
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{seconds}.{} s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{minutes} min {} s", seconds % 60),
        3_600_000..86_400_000 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A fact `ms` milliseconds after the start.
    fn fact(ms: u32, r#type: &str, members: Value) -> Fact {
        let mut fact = json!({
            "seq": 1, "type": r#type, "at": format!("2026-11-21T09:30:0{}.{:03}Z", ms / 1_000, ms % 1_000),
        });
        fact.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        serde_json::from_value(fact).unwrap()
    }

    fn told(facts: &[Fact]) -> Vec<String> {
        let mut narrator = Narrator::new(Clock::Elapsed, ["pay", "reserve"]);
        facts
            .iter()
            .filter_map(|fact| narrator.tell(fact, &Output::plain()))
            .collect()
    }

    #[test]
    fn a_saga_that_is_undone_reads_well() {
        let error = json!({ "code": "timeout", "message": "no answer" });
        let failure = json!({ "step": "pay", "code": "timeout", "message": "no answer" });
        let undo = json!({ "step": "reserve", "phase": "compensation" });
        let facts = [
            fact(
                0,
                "saga_started",
                json!({ "definition": "order", "version": 1, "key": "K" }),
            ),
            fact(
                0,
                "attempt_started",
                json!({ "step": "reserve", "phase": "action" }),
            ),
            fact(5, "step_succeeded", json!({ "step": "reserve" })),
            fact(
                5,
                "attempt_started",
                json!({ "step": "pay", "phase": "action" }),
            ),
            fact(
                1_005,
                "attempt_failed",
                json!({
                    "step": "pay", "phase": "action", "error": error,
                    "retry_at": "2026-11-21T09:30:01.105Z",
                }),
            ),
            fact(
                1_105,
                "attempt_started",
                json!({ "step": "pay", "phase": "action" }),
            ),
            fact(
                2_105,
                "step_unknown",
                json!({ "step": "pay", "error": error }),
            ),
            fact(2_105, "saga_compensating", json!({ "failure": failure })),
            fact(2_105, "step_compensated", json!({ "step": "pay" })),
            fact(2_105, "attempt_started", undo),
            fact(2_110, "step_compensated", json!({ "step": "reserve" })),
            fact(2_110, "saga_compensated", json!({})),
        ];
        assert_eq!(
            told(&facts).join("\n"),
            "
     0 ms  ·          order 1 begins  key K
     0 ms  → reserve  is asked
     5 ms  ✓ reserve  done  5 ms
     5 ms  → pay      is asked
  1005 ms  … pay      timeout (no answer)  again in 100 ms
  1105 ms  → pay      is asked again  attempt 2
  2105 ms  ? pay      nobody knows whether it was done: timeout (no answer)
  2105 ms  ↺          turns back: pay: timeout (no answer)
  2105 ms  ↺ pay      had nothing to undo
  2105 ms  ↺ reserve  is being undone
  2110 ms  ↺ reserve  undone  5 ms"
                .trim_start_matches('\n')
        );
    }

    #[test]
    fn what_a_guard_holds_back_is_no_attempt() {
        let begun = json!({ "step": "pay", "phase": "action" });
        let held = json!({
            "step": "pay", "phase": "action", "guard": "rate_limit", "until": "2026-11-21T09:30:01Z",
        });
        let facts = [
            fact(0, "attempt_started", begun.clone()),
            fact(5, "attempt_held", held),
            fact(900, "attempt_started", begun),
        ];
        assert_eq!(
            told(&facts),
            [
                "     0 ms  → pay      is asked",
                "     5 ms  … pay      is held back by the rate limit  until 2026-11-21 09:30:01",
                "   900 ms  → pay      is asked",
            ]
        );
    }

    #[test]
    fn what_this_version_does_not_know_is_told_too() {
        let facts = [
            fact(0, "saga_moved", json!({})),
            fact(0, "step_paused", json!({ "step": "pay" })),
        ];
        assert_eq!(
            told(&facts),
            [
                "     0 ms  ·          saga moved",
                "     0 ms  · pay      step paused"
            ]
        );
    }

    #[test]
    fn durations_are_said_as_people_do() {
        let said = |ms| duration(chrono::TimeDelta::milliseconds(ms));
        let table = [
            (-5, "0 ms"),
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (59_999, "59.9 s"),
            (60_000, "1 min 0 s"),
            (3_725_000, "1 h 2 min"),
            (90_000_000, "1 d 1 h"),
        ];
        for (ms, text) in table {
            assert_eq!(said(ms), text);
        }
    }
}
