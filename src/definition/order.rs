//! Which step comes before which: `after` resolved, cycles found, and where each step lies in
//! relation to the pivot.

use std::collections::{BTreeMap, VecDeque};

use super::draft::step::DraftStep;
use super::model::{Position, StepIndex};
use super::problem::{Problems, suggestion};

/// The order of the steps of one definition.
#[derive(Debug)]
pub(super) struct Order {
    /// The steps by id; of two with one id, the first.
    pub(super) by_id: BTreeMap<String, StepIndex>,
    /// By step, those that its `after` names.
    pub(super) after: Vec<Vec<StepIndex>>,
    /// By step, those whose `after` names it.
    pub(super) followers: Vec<Vec<StepIndex>>,
    /// By step, whether each other one has always ended before it starts.
    pub(super) before: Vec<Vec<bool>>,
    /// Every step once, each after all that its `after` names.
    pub(super) topological: Vec<StepIndex>,
    pub(super) pivot: Option<StepIndex>,
    pub(super) positions: Vec<Position>,
}

/// Finds the order of `steps`.
pub(super) fn find(steps: &[DraftStep<'_>], problems: &mut Problems) -> Order {
    let by_id = by_id(steps, problems);
    let after: Vec<Vec<StepIndex>> = indices(steps)
        .map(|(index, step)| after(index, step, &by_id, problems))
        .collect();
    let mut followers = vec![Vec::new(); steps.len()];
    for (index, _) in indices(steps) {
        for earlier in after.get(index.offset()).into_iter().flatten() {
            if let Some(followers) = followers.get_mut(earlier.offset()) {
                followers.push(index);
            }
        }
    }
    let topological = topological(&after, &followers);
    if topological.len() < steps.len() {
        report_cycle(steps, &after, &topological, problems);
    }
    let before = before(&after, &topological);
    let pivot = pivot(steps, problems);
    let positions = positions(
        steps,
        &before,
        pivot,
        topological.len() == steps.len(),
        problems,
    );
    Order {
        by_id,
        after,
        followers,
        before,
        topological,
        pivot,
        positions,
    }
}

/// The steps with their indices. There are at most 500.
pub(super) fn indices<T>(steps: &[T]) -> impl Iterator<Item = (StepIndex, &T)> {
    (0_u16..=u16::MAX).map(StepIndex).zip(steps)
}

fn by_id(steps: &[DraftStep<'_>], problems: &mut Problems) -> BTreeMap<String, StepIndex> {
    let mut by_id = BTreeMap::new();
    for (index, step) in indices(steps) {
        let Some((place, id)) = &step.id else {
            continue;
        };
        if by_id.contains_key(id) {
            let message =
                format!("There is another step `{id}` above; give each an id of its own.");
            problems.error(*place, "duplicate_step", message);
        } else {
            by_id.insert(id.clone(), index);
        }
    }
    by_id
}

fn after(
    index: StepIndex,
    step: &DraftStep<'_>,
    by_id: &BTreeMap<String, StepIndex>,
    problems: &mut Problems,
) -> Vec<StepIndex> {
    let Some(names) = &step.after else {
        return index.0.checked_sub(1).map(StepIndex).into_iter().collect();
    };
    let mut after = Vec::with_capacity(names.len());
    for (place, name) in names {
        match by_id.get(name) {
            None => {
                let near = suggestion(name, by_id.keys().map(String::as_str));
                let end = if near.is_empty() { "." } else { &near };
                let message = format!("`after` names `{name}`, and there is no such step{end}");
                problems.error(*place, "unknown_step", message);
            }
            Some(named) if *named == index => {
                let message = format!("The step `{name}` cannot come after itself; take it out.");
                problems.error(*place, "after_itself", message);
            }
            Some(named) if after.contains(named) => {}
            Some(named) => after.push(*named),
        }
    }
    after
}

/// Every step that is not on a cycle or behind one.
fn topological(after: &[Vec<StepIndex>], followers: &[Vec<StepIndex>]) -> Vec<StepIndex> {
    let mut open: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut ready: VecDeque<StepIndex> = indices(after)
        .filter(|(_, after)| after.is_empty())
        .map(|(index, _)| index)
        .collect();
    let mut order = Vec::with_capacity(after.len());
    while let Some(step) = ready.pop_front() {
        order.push(step);
        for follower in followers.get(step.offset()).into_iter().flatten() {
            if let Some(open) = open.get_mut(follower.offset()) {
                *open -= 1;
                if *open == 0 {
                    ready.push_back(*follower);
                }
            }
        }
    }
    order
}

/// Writes out one cycle: from a step that is not in the order, back along `after` until a step
/// comes again.
fn report_cycle(
    steps: &[DraftStep<'_>],
    after: &[Vec<StepIndex>],
    topological: &[StepIndex],
    problems: &mut Problems,
) {
    let mut ordered = vec![false; steps.len()];
    for step in topological {
        if let Some(ordered) = ordered.get_mut(step.offset()) {
            *ordered = true;
        }
    }
    let is_open = |step: &StepIndex| ordered.get(step.offset()) == Some(&false);
    let Some(mut here) = indices(steps).map(|(index, _)| index).find(is_open) else {
        return;
    };
    let mut way = Vec::new();
    while !way.contains(&here) {
        way.push(here);
        let next = after
            .get(here.offset())
            .and_then(|after| after.iter().copied().find(is_open));
        let Some(next) = next else { return };
        here = next;
    }
    let mut cycle: Vec<StepIndex> = way.into_iter().skip_while(|step| *step != here).collect();
    // Begin with the step that stands first in the document.
    let first = cycle
        .iter()
        .enumerate()
        .min_by_key(|(_, step)| **step)
        .map_or(0, |(at, _)| at);
    cycle.rotate_left(first);
    cycle.extend(cycle.first().copied());
    let id = |step: &StepIndex| {
        let known = steps.get(step.offset()).and_then(|step| step.id.as_ref());
        known.map_or_else(|| format!("step {}", step.0 + 1), |(_, id)| id.clone())
    };
    let written: Vec<String> = cycle.iter().map(id).collect();
    let place = cycle
        .first()
        .and_then(|step| steps.get(step.offset()))
        .map(|step| step.place);
    if let Some(place) = place {
        let message = format!(
            "These steps wait for each other: {}; take one of these out of its `after`.",
            written.join(" after ")
        );
        problems.error(place, "cycle", message);
    }
}

fn before(after: &[Vec<StepIndex>], topological: &[StepIndex]) -> Vec<Vec<bool>> {
    let mut before = vec![vec![false; after.len()]; after.len()];
    for step in topological {
        let mut row = vec![false; after.len()];
        for earlier in after.get(step.offset()).into_iter().flatten() {
            if let Some(theirs) = before.get(earlier.offset()) {
                for (mine, theirs) in row.iter_mut().zip(theirs) {
                    *mine |= *theirs;
                }
            }
            if let Some(mine) = row.get_mut(earlier.offset()) {
                *mine = true;
            }
        }
        if let Some(slot) = before.get_mut(step.offset()) {
            *slot = row;
        }
    }
    before
}

fn pivot(steps: &[DraftStep<'_>], problems: &mut Problems) -> Option<StepIndex> {
    let mut pivots =
        indices(steps).filter_map(|(index, step)| step.pivot.map(|place| (index, place)));
    let first = pivots.next();
    for (_, place) in pivots {
        let message = "A saga has one point of no return; this is the second `pivot: true`.";
        problems.error(place, "several_pivots", message);
    }
    first.map(|(index, _)| index)
}

fn positions(
    steps: &[DraftStep<'_>],
    before: &[Vec<bool>],
    pivot: Option<StepIndex>,
    acyclic: bool,
    problems: &mut Problems,
) -> Vec<Position> {
    let Some(pivot) = pivot else {
        return vec![Position::Before; steps.len()];
    };
    let comes_before = |one: StepIndex, other: StepIndex| {
        before
            .get(other.offset())
            .and_then(|row| row.get(one.offset()))
            == Some(&true)
    };
    let pivot_id = steps.get(pivot.offset()).and_then(|step| step.id.as_ref());
    let pivot_id = pivot_id.map_or("", |(_, id)| id.as_str());
    indices(steps)
        .map(|(index, step)| {
            if index == pivot {
                Position::Pivot
            } else if comes_before(pivot, index) {
                Position::After
            } else {
                if acyclic && !comes_before(index, pivot) {
                    let message = format!(
                        "This step comes neither before nor after the pivot `{pivot_id}`, so nobody could say whether it is to be undone; order it with `after`."
                    );
                    let place = step.id.as_ref().map_or(step.place, |(place, _)| *place);
                    problems.error(place, "beside_pivot", message);
                }
                Position::Before
            }
        })
        .collect()
}
