//! `retry` as it was written: each field over that of an outer policy.

use crate::definition::fields::{self, Fields};
use crate::definition::model::{JitterKind, RetryPolicy};
use crate::definition::problem::Problems;
use crate::definition::tree::{Node, Tree};

/// The most attempts that a policy may ask for.
const ATTEMPTS_MAX: u32 = 1_000;

/// The largest multiplier.
const MULTIPLIER_MAX: f64 = 100.0;

/// The fields of a `retry` that were written.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::definition) struct RetryPatch {
    attempts_max: Option<u32>,
    initial_ms: Option<u64>,
    multiplier: Option<f64>,
    max_ms: Option<u64>,
    jitter: Option<JitterKind>,
}

impl RetryPatch {
    /// `base` with the fields that were written in place of its own.
    pub(in crate::definition) fn over(self, base: RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            attempts_max: self.attempts_max.unwrap_or(base.attempts_max),
            initial_ms: self.initial_ms.unwrap_or(base.initial_ms),
            multiplier: self.multiplier.unwrap_or(base.multiplier),
            max_ms: self.max_ms.unwrap_or(base.max_ms),
            jitter: self.jitter.unwrap_or(base.jitter),
        }
    }
}

pub(in crate::definition) fn read(node: &Node, problems: &mut Problems) -> RetryPatch {
    let Some(fields) = Fields::of(node, "`retry`", fields::RETRY, problems) else {
        return RetryPatch::default();
    };
    let jitters = [
        ("full", JitterKind::Full),
        ("equal", JitterKind::Equal),
        ("none", JitterKind::None),
    ];
    RetryPatch {
        attempts_max: fields.integer("max_attempts", 1..=ATTEMPTS_MAX, problems),
        initial_ms: fields
            .duration("initial", problems)
            .map(|(_, duration_ms)| duration_ms),
        multiplier: multiplier(&fields, problems),
        max_ms: fields
            .duration("max", problems)
            .map(|(_, duration_ms)| duration_ms),
        jitter: fields
            .word("jitter", &jitters, problems)
            .map(|(_, jitter)| jitter),
    }
}

fn multiplier(fields: &Fields<'_>, problems: &mut Problems) -> Option<f64> {
    let node = fields.get("multiplier")?;
    let value = match &node.tree {
        Tree::Integer(value) => i32::try_from(*value).map_or(f64::INFINITY, f64::from),
        Tree::Float(value) => *value,
        Tree::Null | Tree::Bool(_) | Tree::Text(_) | Tree::List(_) | Tree::Map(_) => {
            fields::wrong_type(node, "multiplier", "a number", problems);
            return None;
        }
    };
    if (1.0..=MULTIPLIER_MAX).contains(&value) {
        return Some(value);
    }
    let message = format!("`multiplier` is from 1 to {MULTIPLIER_MAX}.");
    problems.error(node.place, "out_of_range", message);
    None
}
