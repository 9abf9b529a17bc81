//! The untyped tree that the layers of the configuration are merged in.

use std::fmt;
use std::sync::Arc;

use saphyr::{LoadableYamlNode as _, MarkedYaml, ScanError, YamlData};

/// One value of the configuration, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Arc<str>,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    /// A problem with it has been reported already.
    Broken,
}

/// A single value as text: what it is, and what may be shown of it.
#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) shown: String,
    /// `${…}` in it means nothing.
    pub(super) literal: bool,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(formatter)
    }
}

impl Scalar {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            shown: text.clone(),
            text,
            literal: false,
        }
    }
}

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("is not YAML: {0}")]
    Syntax(#[from] ScanError),
    #[error("must be one YAML document")]
    SeveralDocuments,
}

impl Node {
    pub(super) fn empty_map(origin: Arc<str>) -> Self {
        Self {
            content: Content::Map(Vec::new()),
            origin,
        }
    }

    /// Reads a file's text; every node's origin is `name:line`.
    pub(super) fn from_yaml(text: &str, name: &str) -> Result<Self, DocumentError> {
        let documents = MarkedYaml::load_from_str(text)?;
        match documents.as_slice() {
            [] => Ok(Self::empty_map(name.into())),
            [document] => Ok(convert(document, &|line| format!("{name}:{line}").into())),
            [_, _, ..] => Err(DocumentError::SeveralDocuments),
        }
    }

    /// Reads the value of a variable or a flag: `{ … }` is a map, `[ … ]` a list, `null` or nothing is null, and
    /// anything else is taken as it is.
    pub(super) fn from_override(text: &str, origin: &str) -> Result<Self, DocumentError> {
        let origin: Arc<str> = origin.into();
        let trimmed = text.trim();
        // An address may begin with a bracket, but has its port after the other one.
        if trimmed.starts_with('{') || (trimmed.starts_with('[') && trimmed.ends_with(']')) {
            return match MarkedYaml::load_from_str(text)?.as_slice() {
                [document] => Ok(convert(document, &|_| origin.clone())),
                [] | [_, _, ..] => Err(DocumentError::SeveralDocuments),
            };
        }
        let content = match text {
            "" | "null" => Content::Null,
            text => Content::Scalar(Scalar::new(text)),
        };
        Ok(Self { content, origin })
    }

    /// Whether there is something at `path`.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        let Some((key, rest)) = path.split_first() else {
            return !matches!(self.content, Content::Null);
        };
        let Content::Map(entries) = &self.content else {
            return false;
        };
        entries
            .iter()
            .any(|(name, node)| is_same_name(name, key) && node.has(rest))
    }

    /// Puts `value` where `path` says. Maps are made on the way; a map is merged key by key. A number
    /// is an item of a list: one that is there, or the next.
    pub(super) fn set(&mut self, path: &[String], value: Self) {
        let Some((key, rest)) = path.split_first() else {
            self.merge(value);
            return;
        };
        if let Content::List(items) = &mut self.content
            && let Ok(at) = key.parse::<usize>()
            && at <= items.len()
        {
            if at == items.len() {
                items.push(Self::empty_map(value.origin.clone()));
            }
            return items
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|item| item.set(rest, value.clone()));
        }
        if !matches!(self.content, Content::Map(_)) {
            *self = Self::empty_map(value.origin.clone());
        }
        let Content::Map(entries) = &mut self.content else {
            return;
        };
        let existing = entries.iter().position(|(name, _)| is_same_name(name, key));
        match existing.and_then(|at| entries.get_mut(at)) {
            Some((_, node)) => node.set(rest, value),
            None => {
                let mut node = Self::empty_map(value.origin.clone());
                node.set(rest, value);
                entries.push((key.clone(), node));
            }
        }
    }

    fn merge(&mut self, value: Self) {
        if let (Content::Map(_), Content::Map(entries)) = (&self.content, &value.content) {
            let entries = entries.clone();
            for (key, node) in entries {
                self.set(&[key], node);
            }
        } else {
            *self = value;
        }
    }
}

/// Whether a name in an override means this key: variables cannot have dashes in their names, and
/// are written in capitals.
fn is_same_name(key: &str, given: &str) -> bool {
    key == given
        || (key.len() == given.len()
            && key
                .bytes()
                .zip(given.bytes())
                .all(|(a, b)| a.eq_ignore_ascii_case(&b) || (a == b'-' && b == b'_')))
}

fn convert(node: &MarkedYaml<'_>, origin: &dyn Fn(usize) -> Arc<str>) -> Node {
    let at = origin(node.span.start.line());
    let content = match &node.data {
        YamlData::Value(saphyr::Scalar::Null) => Content::Null,
        YamlData::Value(saphyr::Scalar::Boolean(value)) => scalar(value.to_string()),
        YamlData::Value(saphyr::Scalar::Integer(value)) => scalar(value.to_string()),
        YamlData::Value(saphyr::Scalar::FloatingPoint(value)) => scalar(value.to_string()),
        YamlData::Value(saphyr::Scalar::String(text)) => scalar(text.to_string()),
        YamlData::Representation(text, ..) => scalar(text.to_string()),
        YamlData::Sequence(items) => {
            Content::List(items.iter().map(|item| convert(item, origin)).collect())
        }
        YamlData::Mapping(entries) => Content::Map(
            entries
                .iter()
                .map(|(key, value)| (key_text(key), convert(value, origin)))
                .collect(),
        ),
        YamlData::Tagged(_, inner) => return convert(inner, origin),
        YamlData::Alias(_) | YamlData::BadValue => Content::Broken,
    };
    Node {
        content,
        origin: at,
    }
}

fn scalar(text: String) -> Content {
    Content::Scalar(Scalar::new(text))
}

fn key_text(key: &MarkedYaml<'_>) -> String {
    match convert(key, &|_| "".into()).content {
        Content::Scalar(scalar) => scalar.text,
        Content::Null | Content::List(_) | Content::Map(_) | Content::Broken => "?".to_owned(),
    }
}
