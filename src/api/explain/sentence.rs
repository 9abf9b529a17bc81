//! Where a saga stands, in sentences.

use super::Waiting;
use crate::api::wire::At;
use crate::api::wire::saga::{ErrorView, WaitingFor, step_id};
use crate::definition::Definition;
use crate::definition::request::Phase;
use crate::engine::Snapshot;
use crate::saga::guard::Guard;
use crate::saga::{Failure, Resolution, Saga, Status, Timestamp};

/// Of how many things that a saga waits for it is told in words.
const TOLD_MAX: usize = 3;

/// A saga whose journal cannot be read.
pub(super) const UNREADABLE: &str =
    "Set aside: its journal cannot be read, so nothing is done for it any more.";

/// All that there is to say.
pub(super) fn summary(snapshot: &Snapshot, waiting: &[Waiting<'_>], now: Timestamp) -> String {
    let Snapshot { definition, saga } = snapshot;
    let mut said = Vec::new();
    said.extend(status(definition, saga, now));
    if saga.suspended && !saga.status().is_settled() {
        said.push("Suspended: nothing new is sent until it is resumed.".to_owned());
    }
    let of_steps = || waiting.iter().filter(|waiting| waiting.step.is_some());
    said.extend(of_steps().take(TOLD_MAX).map(|waiting| wait(waiting, now)));
    match of_steps().count().saturating_sub(TOLD_MAX) {
        0 => {}
        1 => said.push("One more step waits.".to_owned()),
        more => said.push(format!("{more} more steps wait.")),
    }
    if let Some(deadline) = saga.started.deadline.filter(|_| saga.overdue)
        && !saga.status().is_finished()
    {
        said.push(format!(
            "Its time was up {}, but it is past its pivot and only goes forward.",
            ago(deadline, now)
        ));
    }
    if said.is_empty() {
        said.push("It goes on at any moment.".to_owned());
    }
    said.join(" ")
}

/// What its status says; nothing of one that runs.
fn status(definition: &Definition, saga: &Saga, now: Timestamp) -> Option<String> {
    let why = saga
        .failure()
        .map(|failure| reason(definition, failure))
        .unwrap_or_default();
    let finished = saga.finished_at.unwrap_or(saga.updated_at);
    Some(match saga.status() {
        Status::Running => return None,
        Status::Compensating => format!("Being undone ({why})."),
        Status::Failed => format!("Failed ({why})."),
        Status::Completed => {
            let done = format!("Completed {}.", ago(finished, now));
            match &saga.output_error {
                Some(error) => format!("{done} Its output is missing: {error}."),
                None => done,
            }
        }
        Status::Compensated => format!(
            "Compensated {}: what was done is undone ({why}).",
            ago(finished, now)
        ),
    })
}

fn reason(definition: &Definition, failure: &Failure) -> String {
    match failure.step {
        Some(step) => format!("{}: {}", step_id(definition, step), failure.code),
        None => failure.code.clone(),
    }
}

/// One thing that a step waits for.
fn wait(waiting: &Waiting<'_>, now: Timestamp) -> String {
    let step = waiting.step.unwrap_or_default();
    let participant = waiting.participant.unwrap_or("somebody");
    let attempt = waiting.attempt.unwrap_or(1);
    let attempt = match waiting.phase {
        Phase::Action => format!("attempt {attempt} of {step}"),
        Phase::Compensation => format!("attempt {attempt} to undo {step}"),
    };
    let begins = begins(waiting.until, now);
    let since = waiting.since.map_or(now, |At(since)| since);
    let last = waiting.last_error.as_ref().map(last).unwrap_or_default();
    match waiting.r#for {
        WaitingFor::Reply => {
            let left = match waiting.until.map(|At(until)| now.ms_until(until)) {
                Some(0) => "should have been answered by now".to_owned(),
                Some(left) => format!("has {} left to be answered", span(left)),
                None => "is not answered yet".to_owned(),
            };
            let begun = ago(since, now);
            format!("Waiting for {participant}: {attempt} began {begun} and {left}.")
        }
        WaitingFor::Retry => format!("Waiting for {participant}: {attempt} begins {begins}{last}."),
        WaitingFor::Guard(Guard::CircuitBreaker) => format!(
            "Waiting for {participant}: its circuit breaker is open and holds {attempt} back; it is looked at again {begins}{last}."
        ),
        WaitingFor::Guard(Guard::Bulkhead) => format!(
            "Waiting for {participant}: as many calls are under way as may be, and {attempt} has waited for its turn for {}.",
            span(since.ms_until(now))
        ),
        WaitingFor::Guard(Guard::RateLimit) => format!(
            "Waiting for {participant}: calls are sent only so often, and {attempt} has waited for its turn for {}.",
            span(since.ms_until(now))
        ),
        WaitingFor::Signal(name) => {
            let waited = span(since.ms_until(now));
            let end = match waiting.until {
                Some(_) => format!("gives up {begins}"),
                None => "waits for as long as it takes".to_owned(),
            };
            format!("Waiting for the signal `{name}`: {step} has waited for {waited} and {end}.")
        }
        WaitingFor::Time => format!("Waiting for a time: {step} is over {begins}."),
        WaitingFor::Operator if waiting.dead_lettered => {
            let end = match waiting.until {
                Some(_) => format!("; it is given up {begins}"),
                None => String::new(),
            };
            format!(
                "Waiting for a person: {participant} could not take {attempt}; replay its dead letter, or cancel the saga{end}."
            )
        }
        WaitingFor::Operator => operator(waiting, step),
    }
}

fn operator(waiting: &Waiting<'_>, step: &str) -> String {
    let what = match (waiting.phase, waiting.unknown) {
        (Phase::Action, false) => format!("{step} was not done"),
        (Phase::Action, true) => format!("nobody knows whether {step} was done"),
        (Phase::Compensation, _) => format!("{step} could not be undone"),
    };
    let last = waiting.last_error.as_ref().map(last).unwrap_or_default();
    let resolve = match waiting.resolutions.as_slice() {
        [] => String::new(),
        words => format!(", or resolve {step} as {}", words.join(" or ")),
    };
    format!("Waiting for a person: {what}{last}; retry the saga{resolve}.")
}

/// The word for a resolution.
pub(super) fn resolution(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::Succeeded => "succeeded",
        Resolution::Skipped => "skipped",
        Resolution::Refused => "refused",
        Resolution::Compensated => "compensated",
    }
}

/// ` (the last answer was 503)`
fn last(error: &ErrorView<'_>) -> String {
    match error.code.strip_prefix("http_") {
        Some(status) => format!(" (the last answer was {status})"),
        None => format!(" (the last attempt ended with {})", error.code),
    }
}

fn begins(until: Option<At>, now: Timestamp) -> String {
    match until.map(|At(until)| now.ms_until(until)) {
        None | Some(0) => "at any moment".to_owned(),
        Some(ms) => format!("in {}", span(ms)),
    }
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    match then.ms_until(now) {
        0 => "just now".to_owned(),
        ms => format!("{} ago", span(ms)),
    }
}

/// A duration as people say it.
pub(super) fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {part}"),
    };
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => two(minutes, "min", seconds % 60, "s"),
        3_600_000..86_400_000 => two(hours, "h", minutes % 60, "min"),
        _ => two(hours / 24, "d", hours % 24, "h"),
    }
}
