//! The document read field by field: every value of its type, nothing yet compiled or put in
//! relation to anything else.

pub(super) mod call;
pub(super) mod retry;
pub(super) mod step;

use std::collections::BTreeMap;

use self::retry::RetryPatch;
use self::step::DraftStep;
use super::fields::{self, Fields};
use super::model::{CompensationOrder, OnCompensationFailure};
use super::problem::{Place, Problems};
use super::tree::{Node, Tree};

/// The most steps that a definition may have.
const STEPS_MAX: usize = 500;

/// The most labels, and the longest name and value of one.
const LABELS_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 255;

/// A definition as it was written.
#[derive(Debug)]
pub(super) struct Draft<'n> {
    pub(super) name: Option<String>,
    pub(super) version: Option<u32>,
    pub(super) version_place: Place,
    pub(super) description: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) input: Option<&'n Node>,
    pub(super) timeout: Option<(Place, u64)>,
    pub(super) retry: RetryPatch,
    pub(super) compensation: CompensationSettings,
    pub(super) steps: Vec<DraftStep<'n>>,
    pub(super) output: Option<&'n Node>,
}

/// `compensation` of a definition.
#[derive(Debug, Default)]
pub(super) struct CompensationSettings {
    pub(super) order: Option<CompensationOrder>,
    pub(super) on_failure: Option<OnCompensationFailure>,
    pub(super) retry: RetryPatch,
}

/// Reads a definition. `None` when the document is not even a map.
pub(super) fn read<'n>(root: &'n Node, problems: &mut Problems) -> Option<Draft<'n>> {
    let fields = Fields::of(root, "A definition", fields::DEFINITION, problems)?;
    let name = fields
        .required("name", problems)
        .and_then(|node| fields::name(node, "name", problems));
    fields.required("version", problems);
    let version = fields.integer(
        "version",
        1..=u32::try_from(i32::MAX).unwrap_or(1),
        problems,
    );
    let steps = match fields.required("steps", problems) {
        Some(node) => steps(node, problems),
        None => Vec::new(),
    };
    Some(Draft {
        name,
        version,
        version_place: fields.get("version").map_or(root.place, |node| node.place),
        description: fields
            .text("description", problems)
            .map(|(_, text)| text.to_owned()),
        labels: fields
            .get("labels")
            .map(|node| labels(node, problems))
            .unwrap_or_default(),
        input: fields.get("input"),
        timeout: fields.duration("timeout", problems),
        retry: fields
            .get("retry")
            .map(|node| retry::read(node, problems))
            .unwrap_or_default(),
        compensation: fields
            .get("compensation")
            .map(|node| compensation(node, problems))
            .unwrap_or_default(),
        steps,
        output: fields.get("output"),
    })
}

fn steps<'n>(node: &'n Node, problems: &mut Problems) -> Vec<DraftStep<'n>> {
    let Tree::List(items) = &node.tree else {
        fields::wrong_type(node, "steps", "a list of steps", problems);
        return Vec::new();
    };
    if items.is_empty() {
        problems.error(
            node.place,
            "out_of_range",
            "A definition has at least one step.",
        );
    }
    if let Some(first_too_many) = items.get(STEPS_MAX) {
        let message = format!(
            "A definition has at most {STEPS_MAX} steps; this one has {}.",
            items.len()
        );
        problems.error(first_too_many.place, "out_of_range", message);
    }
    items
        .iter()
        .take(STEPS_MAX)
        .map(|item| step::read(item, problems))
        .collect()
}

fn labels(node: &Node, problems: &mut Problems) -> BTreeMap<String, String> {
    let Tree::Map(entries) = &node.tree else {
        fields::wrong_type(node, "labels", "a map of texts", problems);
        return BTreeMap::new();
    };
    if entries.len() > LABELS_MAX {
        problems.error(
            node.place,
            "out_of_range",
            format!("There are at most {LABELS_MAX} labels."),
        );
    }
    let mut labels = BTreeMap::new();
    for entry in entries {
        let Some((place, value)) = fields::text(&entry.value, &entry.key, problems) else {
            continue;
        };
        if entry.key.is_empty()
            || entry.key.len() > LABEL_BYTES_MAX
            || value.len() > LABEL_BYTES_MAX
        {
            let message = format!("A label's name and value have at most {LABEL_BYTES_MAX} bytes.");
            problems.error(place, "out_of_range", message);
        }
        labels.insert(entry.key.clone(), value.to_owned());
    }
    labels
}

fn compensation(node: &Node, problems: &mut Problems) -> CompensationSettings {
    let label = "`compensation` of a definition";
    let Some(fields) = Fields::of(node, label, fields::COMPENSATION_SETTINGS, problems) else {
        return CompensationSettings::default();
    };
    let orders = [
        ("reverse", CompensationOrder::Reverse),
        ("sequential", CompensationOrder::Sequential),
        ("parallel", CompensationOrder::Parallel),
    ];
    let failures = [
        ("halt", OnCompensationFailure::Halt),
        ("continue", OnCompensationFailure::Continue),
    ];
    CompensationSettings {
        order: fields
            .word("order", &orders, problems)
            .map(|(_, order)| order),
        on_failure: fields
            .word("on_failure", &failures, problems)
            .map(|(_, word)| word),
        retry: fields
            .get("retry")
            .map(|node| retry::read(node, problems))
            .unwrap_or_default(),
    }
}
