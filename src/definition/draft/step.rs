//! Steps as they were written.

use super::call::{DraftCall, DraftCompensation, read_action, read_compensation};
use super::retry::{self, RetryPatch};
use crate::definition::fields::{self, Fields};
use crate::definition::model::{Compensate, OnFailure, ReplyMode, StatusPattern};
use crate::definition::problem::{Place, Problems};
use crate::definition::tree::{Node, Tree};

/// A step.
#[derive(Debug)]
pub(in crate::definition) struct DraftStep<'n> {
    pub(in crate::definition) place: Place,
    pub(in crate::definition) id: Option<(Place, String)>,
    /// `None` when it was left out.
    pub(in crate::definition) after: Option<Vec<(Place, String)>>,
    pub(in crate::definition) when: Option<&'n Node>,
    pub(in crate::definition) on_failure: OnFailure,
    /// Where the step is said to be the pivot.
    pub(in crate::definition) pivot: Option<Place>,
    /// `None` when it was written wrongly.
    pub(in crate::definition) kind: Option<DraftKind<'n>>,
}

/// What a step does.
#[derive(Debug)]
pub(in crate::definition) enum DraftKind<'n> {
    Action(Box<DraftAction<'n>>),
    Wait {
        signal: Option<(Place, String)>,
        timeout_ms: Option<u64>,
    },
    Delay(&'n Node),
}

/// An action and what belongs to it.
#[derive(Debug)]
pub(in crate::definition) struct DraftAction<'n> {
    pub(in crate::definition) participant: Option<(Place, String)>,
    pub(in crate::definition) call: Option<DraftCall<'n>>,
    pub(in crate::definition) compensation: Option<DraftCompensation<'n>>,
    pub(in crate::definition) timeout: Option<(Place, u64)>,
    pub(in crate::definition) retry: RetryPatch,
    pub(in crate::definition) reply: Option<(Place, ReplyMode)>,
    pub(in crate::definition) compensate: Compensate,
    pub(in crate::definition) refuse_on: Option<(Place, Vec<StatusPattern>)>,
    pub(in crate::definition) retry_on: Option<(Place, Vec<StatusPattern>)>,
}

/// The fields that belong to `action` alone.
const OF_ACTIONS: [&str; 9] = [
    "participant",
    "compensation",
    "retry",
    "timeout",
    "reply",
    "pivot",
    "compensate",
    "refuse_on",
    "retry_on",
];

pub(in crate::definition) fn read<'n>(node: &'n Node, problems: &mut Problems) -> DraftStep<'n> {
    let mut step = DraftStep {
        place: node.place,
        id: None,
        after: None,
        when: None,
        on_failure: OnFailure::Compensate,
        pivot: None,
        kind: None,
    };
    let Some(fields) = Fields::of(node, fields::STEP_LABEL, fields::STEP, problems) else {
        return step;
    };
    step.id = fields
        .required("id", problems)
        .and_then(|node| fields::name(node, "id", problems).map(|id| (node.place, id)));
    step.after = fields.get("after").map(|node| after(node, problems));
    step.when = fields.get("when");
    let words = [
        ("compensate", OnFailure::Compensate),
        ("continue", OnFailure::Continue),
    ];
    if let Some((_, word)) = fields.word("on_failure", &words, problems) {
        step.on_failure = word;
    }
    if let Some((place, true)) = fields.boolean("pivot", problems) {
        step.pivot = Some(place);
    }
    step.kind = kind(&fields, problems);
    step
}

fn kind<'n>(fields: &Fields<'n>, problems: &mut Problems) -> Option<DraftKind<'n>> {
    let kinds: Vec<&str> = ["action", "wait", "delay"]
        .into_iter()
        .filter(|key| fields.get(key).is_some())
        .collect();
    match kinds.as_slice() {
        ["action"] => Some(DraftKind::Action(Box::new(action(fields, problems)))),
        [kind] => {
            misplaced(fields, kind, problems);
            if *kind == "wait" {
                wait(fields, problems)
            } else {
                fields.get("delay").map(DraftKind::Delay)
            }
        }
        [] => {
            let message = "A step needs one of `action`, `wait` or `delay`; add it.";
            problems.error(fields.place, "missing_field", message);
            None
        }
        [_, extra, ..] => {
            let place = fields
                .entry(extra)
                .map_or(fields.place, |entry| entry.place);
            let message = format!(
                "A step does one thing: it has {}; keep one.",
                fields::listed(&kinds)
            );
            problems.error(place, "misplaced_field", message);
            None
        }
    }
}

fn misplaced(fields: &Fields<'_>, kind: &str, problems: &mut Problems) {
    for key in OF_ACTIONS {
        if let Some(entry) = fields.entry(key) {
            let message = format!(
                "`{key}` belongs to a step with an `action`, not with a `{kind}`; take it out."
            );
            problems.error(entry.place, "misplaced_field", message);
        }
    }
}

fn wait<'n>(fields: &Fields<'n>, problems: &mut Problems) -> Option<DraftKind<'n>> {
    let wait = Fields::of(fields.get("wait")?, "`wait`", fields::WAIT, problems)?;
    let signal = wait.required("signal", problems).and_then(|node| {
        fields::foreign_name(node, "signal", problems).map(|signal| (node.place, signal))
    });
    let timeout_ms = wait
        .duration("timeout", problems)
        .map(|(_, duration_ms)| duration_ms);
    Some(DraftKind::Wait { signal, timeout_ms })
}

fn action<'n>(fields: &Fields<'n>, problems: &mut Problems) -> DraftAction<'n> {
    let participant = fields.required("participant", problems).and_then(|node| {
        fields::foreign_name(node, "participant", problems).map(|name| (node.place, name))
    });
    let replies = [("sync", ReplyMode::Sync), ("async", ReplyMode::Async)];
    let compensates = [("done", Compensate::Done), ("always", Compensate::Always)];
    DraftAction {
        participant,
        call: fields
            .get("action")
            .and_then(|node| read_action(node, problems)),
        compensation: fields
            .get("compensation")
            .and_then(|node| read_compensation(node, problems)),
        timeout: fields.duration("timeout", problems),
        retry: fields
            .get("retry")
            .map(|node| retry::read(node, problems))
            .unwrap_or_default(),
        reply: fields.word("reply", &replies, problems),
        compensate: fields
            .word("compensate", &compensates, problems)
            .map_or(Compensate::Done, |(_, word)| word),
        refuse_on: statuses(fields, "refuse_on", problems),
        retry_on: statuses(fields, "retry_on", problems),
    }
}

fn after(node: &Node, problems: &mut Problems) -> Vec<(Place, String)> {
    let Tree::List(items) = &node.tree else {
        fields::wrong_type(node, "after", "a list of step ids", problems);
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| fields::text(item, "after", problems))
        .map(|(place, id)| (place, id.to_owned()))
        .collect()
}

fn statuses(
    fields: &Fields<'_>,
    key: &str,
    problems: &mut Problems,
) -> Option<(Place, Vec<StatusPattern>)> {
    let node = fields.get(key)?;
    let Tree::List(items) = &node.tree else {
        fields::wrong_type(node, key, "a list of statuses", problems);
        return None;
    };
    let patterns = items
        .iter()
        .filter_map(|item| status(item, key, problems))
        .collect();
    Some((fields.entry(key)?.place, patterns))
}

fn status(node: &Node, key: &str, problems: &mut Problems) -> Option<StatusPattern> {
    let written = match &node.tree {
        Tree::Integer(status) => status.to_string(),
        Tree::Text(text) => text.clone(),
        Tree::Null | Tree::Bool(_) | Tree::Float(_) | Tree::List(_) | Tree::Map(_) => {
            fields::wrong_type(
                node,
                key,
                "a list of statuses such as `409` or `4xx`",
                problems,
            );
            return None;
        }
    };
    let pattern = match written.as_bytes() {
        [digit @ b'3'..=b'5', b'x', b'x'] => Some(StatusPattern::Class(u16::from(digit - b'0'))),
        [_, _, _] => written
            .parse()
            .ok()
            .filter(|status| (300..=599).contains(status))
            .map(StatusPattern::Exact),
        _ => None,
    };
    if pattern.is_none() {
        let message = format!("`{written}` is not a status: `409` or `4xx`, from 300 to 599.");
        problems.error(node.place, "out_of_range", message);
    }
    pattern
}
