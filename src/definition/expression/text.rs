//! Texts that go into a request's line and headers, where data must not break out of its place.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::compiler::Compiler;
use super::failure::Failure;
use super::program::push_text;
use super::template::{Piece, Pieces};
use super::{ExpressionError, Scope};
use crate::definition::tree::{Node, Tree};

/// Everything but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a literal segment may hold beside that as it is (`pchar`).
const LITERAL: &AsciiSet = &ENCODED
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'%');

/// Writes `text` percent-encoded at the end of `out`.
pub(in crate::definition) fn push_encoded(text: &str, out: &mut String) {
    out.extend(utf8_percent_encode(text, ENCODED));
}

/// Text with expressions in it (a header's value).
#[derive(Debug)]
pub struct TextTemplate {
    pieces: Pieces,
}

/// A path with expressions in it.
#[derive(Debug)]
pub struct PathTemplate {
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    /// Percent-encoded already.
    Literal(String),
    /// Plain text; what comes out is encoded.
    Pieces(Pieces),
}

impl TextTemplate {
    /// The text that it gives.
    ///
    /// # Errors
    /// When an expression fails, or the text has a line break or another control character.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, ExpressionError> {
        let text = self.pieces.render(scope)?;
        if has_control(&text) {
            return Err(self.pieces.error(&Failure::UnsafeHeader));
        }
        Ok(text)
    }
}

impl PathTemplate {
    /// The path that it gives, percent-encoded, from `/`.
    ///
    /// # Errors
    /// When an expression fails, or a segment comes out empty, `.` or `..`.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, ExpressionError> {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Literal(encoded) => path.push_str(encoded),
                Segment::Pieces(pieces) => {
                    let text = pieces.render(scope)?;
                    if is_unsafe(&text) {
                        return Err(pieces.error(&Failure::UnsafeSegment(text)));
                    }
                    push_encoded(&text, &mut path);
                }
            }
        }
        Ok(path)
    }
}

impl Pieces {
    /// The error that tells of `failure`, by the text's first expression.
    fn error(&self, failure: &Failure) -> ExpressionError {
        let program = self.0.iter().find_map(|piece| match piece {
            Piece::Expression(program) => Some(program),
            Piece::Text(_) => None,
        });
        program.map_or_else(
            || ExpressionError {
                expression: String::new(),
                place: String::new(),
                reason: failure.to_string(),
            },
            |program| program.error(failure),
        )
    }
}

fn is_unsafe(segment: &str) -> bool {
    matches!(segment, "" | "." | "..")
}

fn has_control(text: &str) -> bool {
    text.chars()
        .any(|letter| letter != '\t' && letter.is_control())
}

impl Compiler<'_> {
    /// Compiles a header's value.
    pub(in crate::definition) fn text(&mut self, node: &Node, path: &str) -> Option<TextTemplate> {
        let text = match &node.tree {
            Tree::Text(text) => text.clone(),
            Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) => {
                let mut text = String::new();
                push_text(&node.to_json(), &mut text);
                text
            }
            Tree::Null | Tree::List(_) | Tree::Map(_) => {
                let message = format!("A header's value is a text, not {}.", node.kind());
                self.problems.error(node.place, "wrong_type", message);
                return None;
            }
        };
        let pieces = self.pieces(node.place, &text, path)?;
        let broken = pieces.iter().any(|piece| match piece {
            Piece::Text(text) => has_control(text),
            Piece::Expression(_) => false,
        });
        if broken {
            let message = "A header's value has no line break and no control character in it.";
            self.problems.error(node.place, "invalid_header", message);
            return None;
        }
        Some(TextTemplate {
            pieces: Pieces(pieces),
        })
    }

    /// Compiles a path.
    pub(in crate::definition) fn path(&mut self, node: &Node, path: &str) -> Option<PathTemplate> {
        let Tree::Text(text) = &node.tree else {
            let message = format!(
                "A path is a text that begins with `/`, not {}.",
                node.kind()
            );
            self.problems.error(node.place, "wrong_type", message);
            return None;
        };
        let pieces = self.pieces(node.place, text, path)?;
        let segments =
            segments(pieces).and_then(|segments| segments.into_iter().map(segment).collect());
        match segments {
            Ok(segments) => Some(PathTemplate { segments }),
            Err(message) => {
                self.problems.error(node.place, "invalid_path", message);
                None
            }
        }
    }
}

/// The pieces of each segment.
fn segments(pieces: Vec<Piece>) -> Result<Vec<Vec<Piece>>, &'static str> {
    if !matches!(pieces.first(), Some(Piece::Text(text)) if text.starts_with('/')) {
        return Err("A path begins with `/`, and not with an expression.");
    }
    let mut segments: Vec<Vec<Piece>> = Vec::new();
    let mut open = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Expression(program) => open.push(Piece::Expression(program)),
            Piece::Text(text) => {
                if text.contains(['?', '#', '\\'])
                    || text
                        .chars()
                        .any(|letter| letter.is_control() || letter.is_whitespace())
                {
                    return Err(
                        "A path has no `?`, `#`, `\\`, space or control character; parameters stand in `query`.",
                    );
                }
                for (index, part) in text.split('/').enumerate() {
                    if index > 0 {
                        segments.push(std::mem::take(&mut open));
                    }
                    if !part.is_empty() {
                        open.push(Piece::Text(part.to_owned()));
                    }
                }
            }
        }
    }
    segments.push(open);
    // What stands before the first `/` is nothing, and so may be what stands after the last.
    segments.remove(0);
    let last = segments.len().saturating_sub(1);
    if segments.iter().take(last).any(Vec::is_empty) {
        return Err("A path has no empty segment.");
    }
    Ok(segments)
}

fn segment(pieces: Vec<Piece>) -> Result<Segment, &'static str> {
    if pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Expression(_)))
    {
        let decoded = pieces.into_iter().map(|piece| match piece {
            Piece::Text(text) => decode(&text).map(Piece::Text),
            Piece::Expression(program) => Ok(Piece::Expression(program)),
        });
        return decoded
            .collect::<Result<Vec<_>, _>>()
            .map(|pieces| Segment::Pieces(Pieces(pieces)));
    }
    let text: String = pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Expression(_) => String::new(),
        })
        .collect();
    if matches!(decode(&text)?.as_str(), "." | "..") {
        return Err("A path has no segment `.` or `..`.");
    }
    Ok(Segment::Literal(
        utf8_percent_encode(&text, LITERAL).collect(),
    ))
}

fn decode(text: &str) -> Result<String, &'static str> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_not_text| "A path's percent-encoding gives UTF-8 text.")
}
