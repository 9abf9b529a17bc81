//! The fields of a map of the document: typed access, and what is wrong with them.

use super::duration;
use super::problem::{Place, Problems, suggestion};
use super::tree::{Entry, Node, Tree};

/// The fields of a definition.
pub(super) const DEFINITION: &[&str] = &[
    "name",
    "version",
    "description",
    "labels",
    "input",
    "timeout",
    "retry",
    "compensation",
    "steps",
    "output",
];
/// The fields of `compensation` of a definition.
pub(super) const COMPENSATION_SETTINGS: &[&str] = &["order", "on_failure", "retry"];
/// What messages call a step.
pub(super) const STEP_LABEL: &str = "A step";
/// The fields of a step.
pub(super) const STEP: &[&str] = &[
    "id",
    "participant",
    "action",
    "compensation",
    "wait",
    "delay",
    "after",
    "when",
    "timeout",
    "retry",
    "reply",
    "pivot",
    "on_failure",
    "compensate",
    "refuse_on",
    "retry_on",
];
/// Fields that a later version of the language may give a meaning.
pub(super) const RESERVED: &[&str] = &[
    "saga", "for_each", "outcome", "effects", "lock", "mode", "try", "confirm",
];
/// The fields of `retry`.
pub(super) const RETRY: &[&str] = &["max_attempts", "initial", "multiplier", "max", "jitter"];
/// The fields of `wait`.
pub(super) const WAIT: &[&str] = &["signal", "timeout"];
/// The fields of `action`.
pub(super) const ACTION: &[&str] = &[
    "get", "post", "put", "patch", "delete", "command", "query", "headers", "body",
];
/// The fields of a step's `compensation`.
pub(super) const COMPENSATION: &[&str] = &[
    "get", "post", "put", "patch", "delete", "command", "query", "headers", "body", "when",
    "retry", "timeout",
];

/// Where each field may stand, to tell a misplaced one from an unknown one.
const PLACES: [(&str, &[&str]); 7] = [
    ("a definition", DEFINITION),
    ("a step", STEP),
    ("an `action`", ACTION),
    ("a step's `compensation`", COMPENSATION),
    ("`retry`", RETRY),
    ("`wait`", WAIT),
    ("`compensation` of a definition", COMPENSATION_SETTINGS),
];

/// A map of the document, with the fields that it may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'n> {
    /// Where the map begins.
    pub(super) place: Place,
    entries: &'n [Entry],
    known: &'static [&'static str],
    label: &'static str,
}

impl<'n> Fields<'n> {
    /// The fields of `node`, each checked to be one of `known`; `label` says what the map is.
    pub(super) fn of(
        node: &'n Node,
        label: &'static str,
        known: &'static [&'static str],
        problems: &mut Problems,
    ) -> Option<Self> {
        let Tree::Map(entries) = &node.tree else {
            let message = format!("{label} is a map, not {}.", node.kind());
            problems.error(node.place, "wrong_type", message);
            return None;
        };
        let fields = Self {
            place: node.place,
            entries,
            known,
            label,
        };
        for entry in entries {
            fields.check(entry, problems);
        }
        Some(fields)
    }

    fn check(&self, entry: &Entry, problems: &mut Problems) {
        let key = entry.key.as_str();
        if self.known.contains(&key) {
            return;
        }
        let label = self.label;
        if self.label == STEP_LABEL && RESERVED.contains(&key) {
            let message = format!("`{key}` is reserved and means nothing yet; leave it out.");
            problems.error(entry.place, "reserved_field", message);
            return;
        }
        let near = suggestion(key, self.known.iter().copied());
        let elsewhere = PLACES.iter().find(|(_, fields)| fields.contains(&key));
        match elsewhere {
            Some((place, _)) if near.is_empty() => {
                let message = format!("`{key}` is a field of {place}, not of {label}; move it.");
                problems.error(entry.place, "misplaced_field", message);
            }
            Some(_) | None => {
                let end = if near.is_empty() { "." } else { &near };
                let hint = if near.is_empty() {
                    format!(" It has {}.", listed(self.known))
                } else {
                    String::new()
                };
                let message = format!("{label} has no field `{key}`{end}{hint}");
                problems.error(entry.place, "unknown_field", message);
            }
        }
    }

    /// The field's entry.
    pub(super) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The field's value.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The field's value, which has to be there.
    pub(super) fn required(&self, key: &str, problems: &mut Problems) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            let message = format!("{} needs `{key}`; add it.", self.label);
            problems.error(self.place, "missing_field", message);
        }
        found
    }

    /// A text.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<(Place, &'n str)> {
        self.get(key).and_then(|node| text(node, key, problems))
    }

    /// A duration in milliseconds.
    pub(super) fn duration(&self, key: &str, problems: &mut Problems) -> Option<(Place, u64)> {
        self.get(key)
            .and_then(|node| duration_ms(node, key, problems))
    }

    /// True or false.
    pub(super) fn boolean(&self, key: &str, problems: &mut Problems) -> Option<(Place, bool)> {
        let node = self.get(key)?;
        if let Tree::Bool(value) = node.tree {
            return Some((node.place, value));
        }
        wrong_type(node, key, "`true` or `false`", problems);
        None
    }

    /// An integer within `range`.
    pub(super) fn integer(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
        problems: &mut Problems,
    ) -> Option<u32> {
        let node = self.get(key)?;
        let Tree::Integer(value) = node.tree else {
            wrong_type(node, key, "an integer", problems);
            return None;
        };
        let fits = u32::try_from(value)
            .ok()
            .filter(|value| range.contains(value));
        if fits.is_none() {
            let message = format!(
                "`{key}` is from {} to {}, not {value}.",
                range.start(),
                range.end()
            );
            problems.error(node.place, "out_of_range", message);
        }
        fits
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<(Place, T)> {
        let (place, text) = self.text(key, problems)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some((place, *meaning));
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let near = suggestion(text, known.iter().copied());
        let end = if near.is_empty() { "." } else { &near };
        let message = format!("`{key}` is one of {}, not `{text}`{end}", listed(&known));
        problems.error(place, "out_of_range", message);
        None
    }
}

/// A text.
pub(super) fn text<'n>(
    node: &'n Node,
    key: &str,
    problems: &mut Problems,
) -> Option<(Place, &'n str)> {
    if let Tree::Text(text) = &node.tree {
        return Some((node.place, text));
    }
    wrong_type(node, key, "a text", problems);
    None
}

/// A duration in milliseconds.
pub(super) fn duration_ms(node: &Node, key: &str, problems: &mut Problems) -> Option<(Place, u64)> {
    let (place, text) = text(node, key, problems)?;
    match duration::parse_ms(text) {
        Ok(duration_ms) => Some((place, duration_ms)),
        Err(error) => {
            let code = match error {
                duration::DurationError::Malformed => "wrong_type",
                duration::DurationError::OutOfRange => "out_of_range",
            };
            problems.error(
                place,
                code,
                format!("`{key}: {text}` does not fit: {error}."),
            );
            None
        }
    }
}

/// Says that `key` is not what it should be.
pub(super) fn wrong_type(node: &Node, key: &str, wanted: &str, problems: &mut Problems) {
    let message = format!("`{key}` is {wanted}, not {}.", node.kind());
    problems.error(node.place, "wrong_type", message);
}

/// `a`, `b` and `c`, in words.
pub(super) fn listed(words: &[&str]) -> String {
    format!("`{}`", words.join("`, `"))
}

/// Whether a name is `[a-z][a-z0-9_]{0,62}`.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A name, `[a-z][a-z0-9_]{0,62}`.
pub(super) fn name(node: &Node, key: &str, problems: &mut Problems) -> Option<String> {
    let (place, text) = text(node, key, problems)?;
    if is_name(text) {
        return Some(text.to_owned());
    }
    let message = format!(
        "`{key}: {text}` is not a name: small letters, digits and `_`, a letter first, at most 63."
    );
    problems.error(place, "invalid_name", message);
    None
}

/// A name that others gave: letters, digits, `_`, `-` and `.`, at most 128.
pub(super) fn foreign_name(node: &Node, key: &str, problems: &mut Problems) -> Option<String> {
    let (place, text) = text(node, key, problems)?;
    let fits = (1..=128).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if fits {
        return Some(text.to_owned());
    }
    let message =
        format!("`{key}: {text}` is not a name: letters, digits, `_`, `-` and `.`, at most 128.");
    problems.error(place, "invalid_name", message);
    None
}
