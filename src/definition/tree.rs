//! The document as a tree with a place at every node: YAML read, and nothing of its meaning known.

use std::borrow::Cow;

use saphyr::{LoadableYamlNode as _, MarkedYaml, Marker, Scalar, YamlData};
use saphyr_parser::Event;
use serde_json::{Map, Number, Value};

use super::problem::{Place, Problems};

/// The longest document, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// The deepest nesting of a document.
const DEPTH_MAX: usize = 64;

/// A value of the document and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) tree: Tree,
}

/// What stands at a node.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One field of a map.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.tree {
            Tree::Null => "null",
            Tree::Bool(_) => "a boolean",
            Tree::Integer(_) => "an integer",
            Tree::Float(_) => "a decimal number",
            Tree::Text(_) => "a text",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
        }
    }

    /// The same as JSON.
    pub(super) fn to_json(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Integer(value) => Value::from(*value),
            Tree::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Tree::Text(value) => Value::String(value.clone()),
            Tree::List(items) => items.iter().map(Self::to_json).collect(),
            Tree::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The node that a JSON pointer leads to, or the last one on the way to it.
    pub(super) fn at_pointer(&self, pointer: &str) -> &Self {
        let mut node = self;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let next = match &node.tree {
                Tree::Map(entries) => entries
                    .iter()
                    .find(|entry| entry.key == token)
                    .map(|entry| &entry.value),
                Tree::List(items) => token.parse::<usize>().ok().and_then(|at| items.get(at)),
                Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Text(_) => {
                    None
                }
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }
}

/// Reads a document. `None` when it has a syntax error, which ends the reading.
pub(super) fn read(source: &str, problems: &mut Problems) -> Option<Node> {
    if source.len() > DOCUMENT_BYTES_MAX {
        problems.error(
            Place::START,
            "document_too_large",
            format!(
                "The document has {} bytes; at most 1 MiB is read.",
                source.len()
            ),
        );
        return None;
    }
    let source = &*with_yaml_escapes(source);
    if let Some(place) = too_deep(source) {
        refuse_depth(place, problems);
        return None;
    }
    let documents = match MarkedYaml::load_from_str(source) {
        Ok(documents) => documents,
        Err(error) => {
            let duplicate = error.info().contains("duplicated key");
            let (code, message) = if duplicate {
                (
                    "duplicate_key",
                    "This key stands twice in its map; keep one of them.".to_owned(),
                )
            } else {
                (
                    "syntax",
                    format!("The document is not valid YAML: {}.", error.info()),
                )
            };
            problems.error(place_of(error.marker()), code, message);
            return None;
        }
    };
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else {
        problems.error(Place::START, "syntax", "The document is empty.");
        return None;
    };
    if let Some(second) = documents.next() {
        problems.error(
            place_of(&second.span.start),
            "several_documents",
            "A file holds one definition; put the second document into a file of its own.",
        );
        return None;
    }
    Some(convert(first, 0, problems))
}

/// JSON writes a character beyond 16 bits as two escapes, `\ud83d\ude00`; YAML knows only
/// `\U0001f600`. It is the one thing in which JSON is not YAML.
fn with_yaml_escapes(source: &str) -> Cow<'_, str> {
    if !source.trim_start().starts_with('{') || !source.contains("\\u") {
        return Cow::Borrowed(source);
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let pair = surrogate(escape).zip(escape.get(6..).and_then(surrogate));
        let letter = pair.and_then(|pair| char::decode_utf16([pair.0, pair.1]).next()?.ok());
        // An escape is two characters long, so that `\\u` is a backslash and a `u`.
        let length = if letter.is_some() {
            12
        } else {
            1 + escape.chars().nth(1).map_or(0, char::len_utf8)
        };
        match letter {
            Some(letter) => out.push_str(&format!("\\U{:08x}", u32::from(letter))),
            None => out.push_str(escape.get(..length).unwrap_or_default()),
        }
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The half of a pair that an escape begins with.
fn surrogate(escape: &str) -> Option<u16> {
    let hex = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(hex, 16)
        .ok()
        .filter(|half| (0xd800..0xe000).contains(half))
}

/// Where the document goes deeper than it may. The parser's events tell without recursion; all
/// that comes after, the tree's building included, goes down as deep as the document does.
fn too_deep(source: &str) -> Option<Place> {
    let mut depth = 0_usize;
    for event in saphyr_parser::Parser::new_from_str(source) {
        // A syntax error is told by the reading itself.
        let (event, span) = event.ok()?;
        if matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) {
            depth += 1;
        } else if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
            depth = depth.saturating_sub(1);
        }
        if depth > DEPTH_MAX {
            return Some(place_of(&span.start));
        }
    }
    None
}

fn refuse_depth(place: Place, problems: &mut Problems) {
    let message = format!("The document is nested more than {DEPTH_MAX} deep; make it flatter.");
    problems.error(place, "syntax", message);
}

fn place_of(marker: &Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

fn convert(yaml: MarkedYaml<'_>, depth: usize, problems: &mut Problems) -> Node {
    let place = place_of(&yaml.span.start);
    // Aliases go deeper than the parser's events do.
    if depth > DEPTH_MAX {
        refuse_depth(place, problems);
        return Node {
            place,
            tree: Tree::Null,
        };
    }
    let tree = match yaml.data {
        YamlData::Value(scalar) => scalar_tree(scalar, place, problems),
        YamlData::Representation(text, _, _) => Tree::Text(text.into_owned()),
        YamlData::Sequence(items) => Tree::List(
            items
                .into_iter()
                .map(|item| convert(item, depth + 1, problems))
                .collect(),
        ),
        YamlData::Mapping(entries) => Tree::Map(
            entries
                .into_iter()
                .filter_map(|(key, value)| entry(key, value, depth + 1, problems))
                .collect(),
        ),
        YamlData::Tagged(_, inner) => {
            problems.error(place, "syntax", "Tags mean nothing here; leave it out.");
            convert(*inner, depth + 1, problems).tree
        }
        YamlData::Alias(_) | YamlData::BadValue => {
            problems.error(
                place,
                "syntax",
                "This value cannot be read; write it out plainly.",
            );
            Tree::Null
        }
    };
    Node { place, tree }
}

fn entry(
    key: MarkedYaml<'_>,
    value: MarkedYaml<'_>,
    depth: usize,
    problems: &mut Problems,
) -> Option<Entry> {
    let place = place_of(&key.span.start);
    let value = convert(value, depth, problems);
    match convert(key, depth, problems).tree {
        Tree::Text(key) => Some(Entry { place, key, value }),
        Tree::Null
        | Tree::Bool(_)
        | Tree::Integer(_)
        | Tree::Float(_)
        | Tree::List(_)
        | Tree::Map(_) => {
            problems.error(place, "wrong_type", "A key is a text; put it in quotes.");
            None
        }
    }
}

fn scalar_tree(scalar: Scalar<'_>, place: Place, problems: &mut Problems) -> Tree {
    match scalar {
        Scalar::Null => Tree::Null,
        Scalar::Boolean(value) => Tree::Bool(value),
        Scalar::Integer(value) => Tree::Integer(value),
        Scalar::FloatingPoint(value) => {
            if !value.is_finite() {
                problems.error(
                    place,
                    "wrong_type",
                    "JSON has no such number; give a finite one.",
                );
            }
            Tree::Float(value.into_inner())
        }
        Scalar::String(value) => Tree::Text(value.into_owned()),
    }
}
