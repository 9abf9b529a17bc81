//! What a check finds.

use serde::Serialize;

/// One thing that a check found in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// Whether it keeps the definition from being used.
    pub severity: Severity,
    /// A stable snake_case word.
    pub code: &'static str,
    /// A sentence that says what to do.
    pub message: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The definition cannot be used.
    Error,
    /// It can be used; somebody should look.
    Warning,
}

/// Where something stands in a document: line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl Place {
    /// The first character of a document.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl Problem {
    /// An error at `place`.
    #[must_use]
    pub fn error(place: Place, code: &'static str, message: String) -> Self {
        Self {
            line: place.line,
            column: place.column,
            severity: Severity::Error,
            code,
            message,
        }
    }

    /// A warning at `place`.
    #[must_use]
    pub fn warning(place: Place, code: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, code, message)
        }
    }
}

/// No more problems than this are kept of one document.
const PROBLEMS_MAX: usize = 1_000;

/// The problems of one document, as they are found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    expressions: usize,
}

/// The most expressions that are compiled of one document.
const EXPRESSIONS_MAX: usize = 20_000;

impl Problems {
    pub(super) fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>) {
        self.push(Problem::error(place, code, message.into()));
    }

    pub(super) fn warning(&mut self, place: Place, code: &'static str, message: impl Into<String>) {
        self.push(Problem::warning(place, code, message.into()));
    }

    fn push(&mut self, problem: Problem) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(problem);
        }
    }

    /// Whether one more expression of the document is to be compiled. What nobody would read is
    /// not looked for, and no document takes more than a few seconds.
    pub(super) fn admits_expression(&mut self, place: Place) -> bool {
        if self.found.len() >= PROBLEMS_MAX {
            return false;
        }
        self.expressions += 1;
        if self.expressions == EXPRESSIONS_MAX + 1 {
            let message = format!("A definition has at most {EXPRESSIONS_MAX} expressions.");
            self.error(place, "out_of_range", message);
        }
        self.expressions <= EXPRESSIONS_MAX
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Whether there is an error among them.
    pub(super) fn has_error(&self) -> bool {
        self.found
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// The problems in the order of the document, each once and each within `source`.
    pub(super) fn into_sorted(mut self, source: &str) -> Vec<Problem> {
        let widths: Vec<usize> = source.lines().map(|line| line.chars().count()).collect();
        for problem in &mut self.found {
            if problem.line > widths.len() {
                // Behind the last line is its end.
                problem.column = usize::MAX;
            }
            problem.line = problem.line.clamp(1, widths.len().max(1));
            let width = widths.get(problem.line - 1).copied().unwrap_or(0);
            problem.column = problem.column.clamp(1, width + 1);
        }
        self.found
            .sort_by_key(|problem| (problem.line, problem.column));
        self.found.dedup();
        self.found
    }
}

/// `; did you mean …?` when one of `known` is near to `word`, else nothing.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(word.len()) / 4)
        .min()
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}
