//! Text with `${ … }` in it, taken apart.

use super::names::Fault;

/// A part of such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Text as it is, `$${` already made `${`.
    Text(String),
    /// An expression: what is between the braces, and all of it as it was written.
    Expression { inner: &'a str, source: &'a str },
}

/// Whether there is anything in `text` to take apart.
pub(super) fn has_template(text: &str) -> bool {
    text.contains("${")
}

/// Takes `text` apart.
pub(super) fn split(text: &str) -> Result<Vec<Part<'_>>, Fault> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        plain.push_str(before);
        let inside = from.get(2..).unwrap_or_default();
        let length = closing(inside).ok_or_else(|| {
            Fault::new(
                "template_syntax",
                "`${` is not closed with `}`; write `$${` for the text itself.",
            )
        })?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Expression {
            inner: inside.get(..length).unwrap_or_default(),
            source: from.get(..length + 3).unwrap_or_default(),
        });
        rest = inside.get(length + 1..).unwrap_or_default();
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// Where the brace stands that closes an expression; braces in its maps and texts do not.
fn closing(inside: &str) -> Option<usize> {
    let bytes = inside.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'"' | b'\'' => at = after_text(bytes, at)? - 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where a text that opens at `start` is over.
fn after_text(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = *bytes.get(start)?;
    let before = start.checked_sub(1).and_then(|at| bytes.get(at)).copied();
    let raw = matches!(before, Some(b'r' | b'R'));
    let tripled = bytes.get(start..start + 3) == Some([quote; 3].as_slice());
    let width = if tripled { 3 } else { 1 };
    let mut at = start + width;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' && !raw {
            at += 2;
        } else if byte == quote
            && (!tripled || bytes.get(at..at + 3) == Some([quote; 3].as_slice()))
        {
            return Some(at + width);
        } else {
            at += 1;
        }
    }
    None
}

/// How an expression is nested, told from its text alone: the parser goes down with it, and must
/// not be given what would take all of a thread's stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nesting {
    /// Brackets within each other, with each conditional and each of a run of `-` or `!` as one.
    pub(super) brackets: usize,
    /// Operators and selections in a row, those around it included.
    pub(super) chain: usize,
}

/// How `text` is nested.
pub(super) fn nesting(text: &str) -> Nesting {
    let bytes = text.as_bytes();
    let mut deepest = Nesting::default();
    let (mut run, mut longest_run, mut conditionals) = (0_usize, 0_usize, 0_usize);
    // The links of each open bracket's contents since the last comma, and all of them together.
    let mut open = vec![0_usize];
    let mut links = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        run = if matches!(byte, b'-' | b'!') {
            run + 1
        } else {
            0
        };
        longest_run = longest_run.max(run);
        match byte {
            b'(' | b'[' | b'{' => open.push(1),
            b')' | b']' | b'}' if open.len() > 1 => {
                // What was in the brackets is one link of what stands around them.
                links -= open.pop().unwrap_or(0);
                links += open.last_mut().map_or(0, |links| {
                    *links += 1;
                    1
                });
            }
            b',' => links -= open.last_mut().map_or(0, std::mem::take),
            b'?' if !matches!(bytes.get(at.wrapping_sub(1)), Some(b'.' | b'[')) => {
                conditionals += 1
            }
            b'"' | b'\'' => match after_text(bytes, at) {
                Some(after) => at = after - 1,
                None => break,
            },
            _ => {}
        }
        let link = matches!(byte, b'(' | b'[' | b'{')
            || (b"+-*/%<>=&|.".contains(&byte)
                && open.last_mut().is_some_and(|links| {
                    *links += 1;
                    true
                }));
        links += usize::from(link);
        deepest.brackets = deepest.brackets.max(open.len() - 1);
        deepest.chain = deepest.chain.max(links);
        at += 1;
    }
    deepest.brackets += longest_run + conditionals;
    deepest
}
