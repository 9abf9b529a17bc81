//! What works and is probably not meant.

use super::compile::Reads;
use super::draft::Draft;
use super::draft::call::DraftTarget;
use super::draft::step::{DraftAction, DraftKind, DraftStep};
use super::model::{OnFailure, Position, StepIndex};
use super::order::{self, Order};
use super::problem::Problems;
use super::request::Method;

/// Looks for all of it.
pub(super) fn check(draft: &Draft<'_>, order: &Order, reads: &Reads, problems: &mut Problems) {
    for (index, step) in order::indices(&draft.steps) {
        if let Some(DraftKind::Action(action)) = &step.kind {
            compensation_reads_output(index, reads, problems);
            compensation_declared(step, action, order.positions.get(index.offset()), problems);
        }
    }
    shared_signals(&draft.steps, problems);
    output_reads(draft, reads, problems);
}

fn compensation_reads_output(index: StepIndex, reads: &Reads, problems: &mut Problems) {
    let of = |list: &[Vec<_>]| list.get(index.offset()).cloned().unwrap_or_default();
    if of(&reads.conditions)
        .iter()
        .any(|(_, read)| read.step == index)
    {
        return;
    }
    for (place, read) in of(&reads.compensations) {
        if read.step == index && read.output && !read.guarded {
            let message = "The step's output is null when its outcome is unknown, and then this fails or undoes nothing: let the saga choose the id (`saga.id`), or give the compensation a `when`, or read with `.?`.";
            problems.warning(place, "compensation_reads_output", message);
        }
    }
}

fn compensation_declared(
    step: &DraftStep<'_>,
    action: &DraftAction<'_>,
    position: Option<&Position>,
    problems: &mut Problems,
) {
    let place = step.id.as_ref().map_or(step.place, |(place, _)| *place);
    match (position, &action.compensation) {
        (Some(Position::Before), None) if !only_reads(action) => {
            let message = "This step has no `compensation`, so nothing of it is undone when a later one fails; add one, unless there is nothing to undo.";
            problems.warning(place, "no_compensation", message);
        }
        (Some(Position::After), Some(compensation)) => {
            let message = "After the pivot nothing is undone, so this compensation is never run; take it out.";
            problems.warning(compensation.call.place, "compensation_never_run", message);
        }
        (Some(Position::Before | Position::Pivot | Position::After) | None, _) => {}
    }
}

fn only_reads(action: &DraftAction<'_>) -> bool {
    let target = action.call.as_ref().and_then(|call| call.target.as_ref());
    match target {
        Some(DraftTarget::Http { method, .. }) => *method == Method::Get,
        Some(DraftTarget::Command(_)) => false,
        // It was written wrongly, and that has been said.
        None => true,
    }
}

fn shared_signals(steps: &[DraftStep<'_>], problems: &mut Problems) {
    let mut seen: Vec<&str> = Vec::new();
    for step in steps {
        let Some(DraftKind::Wait {
            signal: Some((place, signal)),
            ..
        }) = &step.kind
        else {
            continue;
        };
        if seen.contains(&signal.as_str()) {
            let message = format!(
                "Another step waits for `{signal}` too, and each signal is taken by one of them; give each a name of its own."
            );
            problems.warning(*place, "shared_signal", message);
        } else {
            seen.push(signal);
        }
    }
}

fn output_reads(draft: &Draft<'_>, reads: &Reads, problems: &mut Problems) {
    for (place, read) in &reads.output {
        let Some(step) = draft.steps.get(read.step.offset()) else {
            continue;
        };
        let may_be_missing = step.when.is_some() || step.on_failure == OnFailure::Continue;
        if may_be_missing && read.output && !read.guarded {
            let id = step.id.as_ref().map_or("", |(_, id)| id.as_str());
            let message = format!(
                "The step `{id}` may be skipped, and its output is null then; read it with `.?`, as in `steps.{id}.output.?field`."
            );
            problems.warning(*place, "output_may_be_skipped", message);
        }
    }
}
