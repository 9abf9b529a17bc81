//! Reads one map of the tree: every key is asked for once, by name and kind; what was never asked
//! for is unknown. Goes on after a problem, so that all of them are found.

use std::collections::BTreeMap;

use serde_json::Value;

use super::problem::{ConfigProblem, nearest};
use super::tree::{Content, Node, Scalar};

/// A map of the tree that is being read.
pub(super) struct Section {
    path: String,
    entries: BTreeMap<String, Node>,
    known: Vec<&'static str>,
    shown: serde_json::Map<String, Value>,
    problems: Vec<ConfigProblem>,
}

/// What reading a section came to: what is in force of it, and what is wrong with it.
pub(super) struct Closed {
    pub(super) shown: Value,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Section {
    pub(super) fn open(path: impl Into<String>, node: Option<Node>) -> Self {
        let mut section = Self {
            path: path.into(),
            entries: BTreeMap::new(),
            known: Vec::new(),
            shown: serde_json::Map::new(),
            problems: Vec::new(),
        };
        let Some(node) = node else { return section };
        match node.content {
            Content::Map(entries) => section.entries = entries.into_iter().collect(),
            Content::Null | Content::Broken => {}
            Content::Scalar(_) | Content::List(_) => {
                let path = section.path.clone();
                section.problem_at(path, "must be a map of keys", &node.origin);
            }
        }
        section
    }

    /// The section under `key`, to be handed back with [`Section::absorb`].
    pub(super) fn child(&mut self, key: &'static str) -> Self {
        let node = self.take(key);
        Self::open(self.path_of(key), node)
    }

    /// The sections of the list under `key`, to be handed back with [`Section::absorb_all`].
    pub(super) fn children(&mut self, key: &'static str) -> Vec<Self> {
        let items = self.items(key);
        if items.as_ref().is_some_and(Vec::is_empty) {
            self.problem(key, "must not be empty");
        }
        let open = |(path, node)| Self::open(path, Some(node));
        items.into_iter().flatten().map(open).collect()
    }

    /// The values of the list under `key`, which must be there and not be empty; one that stands
    /// alone is a list of one. `None` is a problem that has been reported.
    pub(super) fn read_list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let is_one = |node: &Node| matches!(node.content, Content::Scalar(_));
        if self.entries.get(key).is_some_and(is_one) {
            return self.read_required(key, parse).map(|value| vec![value]);
        }
        if !self.has(key) {
            self.ignore(key);
            self.problem(key, "is required");
            return None;
        }
        let items = self.items(key)?;
        if items.is_empty() {
            self.problem(key, "must not be empty");
        }
        let (mut values, mut shown, written) = (Vec::new(), Vec::new(), items.len());
        for (path, node) in items {
            match scalar_of(&node, &parse) {
                Ok((value, text)) => {
                    shown.push(plain(text));
                    values.push(value);
                }
                Err(Some(message)) => self.problem_at(path, &message, &node.origin),
                Err(None) => {}
            }
        }
        self.show(key, shown);
        (written > 0 && values.len() == written).then_some(values)
    }

    /// The items of the list under `key`, each with its path; `None` when that is no list.
    fn items(&mut self, key: &'static str) -> Option<Vec<(String, Node)>> {
        let node = self.take(key)?;
        let path = self.path_of(key);
        match node.content {
            Content::List(items) => Some(numbered(&path, items)),
            Content::Map(entries) if is_numbered(&entries) => {
                Some(numbered(&path, entries.into_iter().map(|(_, item)| item)))
            }
            Content::Broken => None,
            Content::Null | Content::Scalar(_) | Content::Map(_) => {
                self.problem_at(path, "must be a list", &node.origin);
                None
            }
        }
    }

    /// Everything that is left, as sections of their own: the names here are the user's.
    pub(super) fn named_children(&mut self) -> Vec<(String, Self)> {
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|(name, node)| {
                let section = Self::open(self.path_of(&name), Some(node));
                (name, section)
            })
            .collect()
    }

    /// Everything that is left, as single values: the names here are the user's.
    pub(super) fn named_scalars(&mut self) -> Vec<(String, Scalar)> {
        let mut scalars = Vec::new();
        for (name, node) in std::mem::take(&mut self.entries) {
            match node.content {
                Content::Scalar(scalar) => scalars.push((name, scalar)),
                Content::Broken => {}
                Content::Null | Content::List(_) | Content::Map(_) => {
                    let path = self.path_of(&name);
                    self.problem_at(path, "must be a single value", &node.origin);
                }
            }
        }
        scalars
    }

    /// Takes over what reading a child came to.
    pub(super) fn absorb(&mut self, key: impl Into<String>, child: Self) {
        let closed = child.close();
        self.problems.extend(closed.problems);
        self.shown.insert(key.into(), closed.shown);
    }

    /// Takes over what reading the sections of a list came to.
    pub(super) fn absorb_all(&mut self, key: &'static str, children: Vec<Self>) {
        let closed = children.into_iter().map(Self::close);
        let (shown, problems): (Vec<_>, Vec<_>) =
            closed.map(|closed| (closed.shown, closed.problems)).unzip();
        self.problems.extend(problems.into_iter().flatten());
        self.show(key, shown);
    }

    /// Ends the reading: the keys that nobody asked for are unknown.
    pub(super) fn close(mut self) -> Closed {
        for (key, node) in std::mem::take(&mut self.entries) {
            let message = match nearest(&key, &self.known) {
                Some(name) => format!("unknown key; did you mean {name}?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            let path = self.path_of(&key);
            self.problem_at(path, &message, &node.origin);
        }
        Closed {
            shown: Value::Object(self.shown),
            problems: self.problems,
        }
    }

    /// Whether `key` is written out with a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries
            .get(key)
            .is_some_and(|node| !matches!(node.content, Content::Null))
    }

    /// The value of a key that has a default.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: (T, &str),
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let (value, text) = default;
        if self.entries.contains_key(key) {
            return match self.parse(key, parse) {
                Parsed::Value(value) => value,
                Parsed::Bad => value,
                Parsed::Null(origin) => {
                    let path = self.path_of(key);
                    self.problem_at(path, "has no value", &origin);
                    value
                }
            };
        }
        self.known.push(key);
        self.shown.insert(key.to_owned(), plain(text));
        value
    }

    /// The value of a key that may be left out or null.
    pub(super) fn read_optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.parse(key, parse) {
            Parsed::Value(value) => Some(value),
            Parsed::Bad => None,
            Parsed::Null(_) => {
                self.shown.insert(key.to_owned(), Value::Null);
                None
            }
        }
    }

    /// The value of a key that must be there. `None` is a problem that has been reported.
    pub(super) fn read_required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.parse(key, parse) {
            Parsed::Value(value) => Some(value),
            Parsed::Bad => None,
            Parsed::Null(_) => {
                self.problem(key, "is required");
                None
            }
        }
    }

    /// A documented key of a later version: nothing but its default may be set.
    pub(super) fn not_yet(&mut self, key: &'static str, default: Option<&str>) {
        let Some(node) = self.take(key) else { return };
        let is_default = match &node.content {
            Content::Null | Content::Broken => true,
            Content::Scalar(scalar) => Some(scalar.text.as_str()) == default,
            Content::List(_) | Content::Map(_) => false,
        };
        if !is_default {
            let path = self.path_of(key);
            self.problem_at(path, "is not supported by this version yet", &node.origin);
        }
    }

    /// A documented key that has no place here: it may be left out or null.
    pub(super) fn misplaced(&mut self, key: &'static str, why: &str) {
        let Some(node) = self.take(key) else { return };
        if !matches!(node.content, Content::Null | Content::Broken) {
            let path = self.path_of(key);
            self.problem_at(path, why, &node.origin);
        }
    }

    /// Reports a problem with `key` of this section.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        self.problems.push(ConfigProblem {
            path,
            message: message.into(),
        });
    }

    /// Reports a problem with the section itself.
    pub(super) fn problem_of_all(&mut self, message: impl Into<String>) {
        self.problems.push(ConfigProblem {
            path: self.path.clone(),
            message: message.into(),
        });
    }

    /// Replaces what is shown of `key`.
    pub(super) fn show(&mut self, key: &str, shown: impl Into<Value>) {
        self.shown.insert(key.to_owned(), shown.into());
    }

    /// Passes what is shown of `key` through `mask`.
    pub(super) fn mask(&mut self, key: &str, mask: impl FnOnce(&str) -> String) {
        if let Some(Value::String(shown)) = self.shown.get_mut(key) {
            *shown = mask(shown);
        }
    }

    /// Knows `key`, and leaves it unread.
    pub(super) fn ignore(&mut self, key: &'static str) {
        self.take(key);
    }

    /// Whether a problem was found in this section so far.
    pub(super) fn has_problem(&self) -> bool {
        !self.problems.is_empty()
    }

    fn parse<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Parsed<T> {
        let Some(node) = self.take(key) else {
            return Parsed::Null("".into());
        };
        let message = match &node.content {
            Content::Null => return Parsed::Null(node.origin),
            Content::Broken => return Parsed::Bad,
            Content::List(_) | Content::Map(_) => "must be a single value".to_owned(),
            Content::Scalar(scalar) => match parse(&scalar.text) {
                Ok(value) => {
                    self.shown.insert(key.to_owned(), plain(&scalar.shown));
                    return Parsed::Value(value);
                }
                Err(message) => message,
            },
        };
        let path = self.path_of(key);
        self.problem_at(path, &message, &node.origin);
        Parsed::Bad
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.entries.remove(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn problem_at(&mut self, path: String, message: &str, origin: &str) {
        let message = if origin.is_empty() {
            message.to_owned()
        } else {
            format!("{message} ({origin})")
        };
        self.problems.push(ConfigProblem { path, message });
    }
}

enum Parsed<T> {
    Value(T),
    /// Null or left out, and where.
    Null(std::sync::Arc<str>),
    Bad,
}

fn numbered(path: &str, items: impl IntoIterator<Item = Node>) -> Vec<(String, Node)> {
    let place = |(at, item)| (format!("{path}[{at}]"), item);
    items.into_iter().enumerate().map(place).collect()
}

/// Whether a map is what variables make of a list that no file begins: its keys are 0, 1, 2…
fn is_numbered(entries: &[(String, Node)]) -> bool {
    let is_at = |(at, (key, _)): (usize, &(String, Node))| key.parse() == Ok(at);
    !entries.is_empty() && entries.iter().enumerate().all(is_at)
}

/// What `node` holds, if it is a single value, and what is shown of it. An error without a message
/// has been reported.
fn scalar_of<'node, T>(
    node: &'node Node,
    parse: &impl Fn(&str) -> Result<T, String>,
) -> Result<(T, &'node str), Option<String>> {
    match &node.content {
        Content::Scalar(scalar) => match parse(&scalar.text) {
            Ok(value) => Ok((value, &scalar.shown)),
            Err(message) => Err(Some(message)),
        },
        Content::Broken => Err(None),
        Content::Null | Content::List(_) | Content::Map(_) => {
            Err(Some("must be a single value".to_owned()))
        }
    }
}

/// A value as it is shown: numbers and truths as such.
fn plain(text: &str) -> Value {
    match (text.parse::<bool>(), text.parse::<serde_json::Number>()) {
        (Ok(truth), _) => truth.into(),
        (_, Ok(number)) => number.into(),
        (Err(_), Err(_)) => text.into(),
    }
}
