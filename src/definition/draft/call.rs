//! Actions and compensations as they were written.

use super::retry::{self, RetryPatch};
use crate::definition::fields::{self, Fields};
use crate::definition::problem::{Place, Problems};
use crate::definition::request::Method;
use crate::definition::tree::{Entry, Node, Tree};

/// The verbs as fields.
const VERBS: [(&str, Method); 5] = [
    ("get", Method::Get),
    ("post", Method::Post),
    ("put", Method::Put),
    ("patch", Method::Patch),
    ("delete", Method::Delete),
];

/// What is asked of a participant.
#[derive(Debug)]
pub(in crate::definition) struct DraftCall<'n> {
    pub(in crate::definition) place: Place,
    /// `None` when it was written wrongly.
    pub(in crate::definition) target: Option<DraftTarget<'n>>,
    pub(in crate::definition) query: &'n [Entry],
    pub(in crate::definition) headers: &'n [Entry],
    pub(in crate::definition) body: Option<&'n Node>,
}

/// Where it goes.
#[derive(Debug)]
pub(in crate::definition) enum DraftTarget<'n> {
    Http {
        method: Method,
        verb: Place,
        path: &'n Node,
    },
    Command(String),
}

/// What undoes an action.
#[derive(Debug)]
pub(in crate::definition) struct DraftCompensation<'n> {
    pub(in crate::definition) call: DraftCall<'n>,
    pub(in crate::definition) when: Option<&'n Node>,
    pub(in crate::definition) retry: RetryPatch,
    pub(in crate::definition) timeout_ms: Option<u64>,
}

pub(in crate::definition) fn read_action<'n>(
    node: &'n Node,
    problems: &mut Problems,
) -> Option<DraftCall<'n>> {
    let fields = Fields::of(node, "An `action`", fields::ACTION, problems)?;
    Some(read_call(&fields, "An `action`", problems))
}

pub(in crate::definition) fn read_compensation<'n>(
    node: &'n Node,
    problems: &mut Problems,
) -> Option<DraftCompensation<'n>> {
    let label = "A step's `compensation`";
    let fields = Fields::of(node, label, fields::COMPENSATION, problems)?;
    Some(DraftCompensation {
        call: read_call(&fields, label, problems),
        when: fields.get("when"),
        retry: fields
            .get("retry")
            .map(|node| retry::read(node, problems))
            .unwrap_or_default(),
        timeout_ms: fields
            .duration("timeout", problems)
            .map(|(_, duration_ms)| duration_ms),
    })
}

fn read_call<'n>(fields: &Fields<'n>, label: &str, problems: &mut Problems) -> DraftCall<'n> {
    DraftCall {
        place: fields.place,
        target: target(fields, label, problems),
        query: entries(fields, "query", problems),
        headers: entries(fields, "headers", problems),
        body: fields.get("body"),
    }
}

fn target<'n>(
    fields: &Fields<'n>,
    label: &str,
    problems: &mut Problems,
) -> Option<DraftTarget<'n>> {
    let mut found = None;
    for (word, method) in VERBS {
        if let Some(entry) = fields.entry(word) {
            let target = DraftTarget::Http {
                method,
                verb: entry.place,
                path: &entry.value,
            };
            only_one(&mut found, target, entry, label, problems);
        }
    }
    if let Some(entry) = fields.entry("command")
        && let Some(command) = fields::foreign_name(&entry.value, "command", problems)
    {
        only_one(
            &mut found,
            DraftTarget::Command(command),
            entry,
            label,
            problems,
        );
    } else if found.is_none() && fields.entry("command").is_none() {
        let message = format!(
            "{label} needs one of `get`, `post`, `put`, `patch`, `delete` with a path, or `command`."
        );
        problems.error(fields.place, "missing_field", message);
    }
    found
}

fn only_one<'n>(
    found: &mut Option<DraftTarget<'n>>,
    target: DraftTarget<'n>,
    entry: &Entry,
    label: &str,
    problems: &mut Problems,
) {
    if found.is_some() {
        let message = format!(
            "{label} has one verb or one command; take `{}` out.",
            entry.key
        );
        problems.error(entry.place, "misplaced_field", message);
    } else {
        *found = Some(target);
    }
}

fn entries<'n>(fields: &Fields<'n>, key: &str, problems: &mut Problems) -> &'n [Entry] {
    match fields.get(key) {
        None => &[],
        Some(Node {
            tree: Tree::Map(entries),
            ..
        }) => entries,
        Some(node) => {
            fields::wrong_type(node, key, "a map", problems);
            &[]
        }
    }
}
