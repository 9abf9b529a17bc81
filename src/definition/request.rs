//! What is asked of a participant: the compiled call, and the request that it renders to.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::expression::{ExpressionError, Facts, PathTemplate, Template, TextTemplate};
use super::model::StepIndex;

/// A compiled action or compensation.
#[derive(Debug)]
pub struct Call {
    /// Where it goes.
    pub target: CallTarget,
    /// Query parameters, in the order of the document.
    pub query: Vec<(String, Template)>,
    /// Headers, in the order of the document.
    pub headers: Vec<(String, TextTemplate)>,
    /// What is sent.
    pub body: CallBody,
}

/// Where a call goes.
#[derive(Debug)]
pub enum CallTarget {
    /// A path of an HTTP participant.
    Http {
        /// The verb.
        method: Method,
        /// The path, from `/`.
        path: PathTemplate,
    },
    /// A named command; over HTTP it is `POST {url}/{command}`.
    Command(String),
}

/// What a call sends.
#[derive(Debug)]
pub enum CallBody {
    /// Left out in the document: nothing for `get` and `delete`, else the saga's input for an
    /// action and `{ input, output }` for a compensation.
    Default,
    /// As declared.
    Declared(Template),
}

/// The verbs a definition may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// The verb as the wire has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Which of a step's two calls.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The step's action.
    Action,
    /// What undoes it.
    Compensation,
}

impl Phase {
    /// The phase as the wire has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
        }
    }
}

/// A rendered call: what is asked, with every expression evaluated. The same journal always
/// renders the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it goes.
    pub target: Target,
    /// Query parameters as `name=value`, already percent-encoded and joined; empty for none.
    pub query: String,
    /// Declared headers.
    pub headers: Vec<(String, String)>,
    /// The body as JSON text.
    pub body: Option<String>,
}

/// Where a rendered request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path of an HTTP participant, percent-encoded, from `/`.
    Http {
        /// The verb.
        method: Method,
        /// The path.
        path: String,
    },
    /// A named command.
    Command(String),
}

impl Call {
    /// Evaluates every expression of the call of `step`'s `phase`.
    ///
    /// # Errors
    /// When an expression fails, gives a path segment that is empty, `.` or `..`, or a header
    /// with a line break in it. The step is then refused with `expression_failed`.
    pub fn render(
        &self,
        step: StepIndex,
        phase: Phase,
        scope: &super::expression::Scope<'_>,
    ) -> Result<Request, ExpressionError> {
        let _ = (step, phase, scope, json!(null), Value::Null, String::new().write_str(""));
        let _: Option<&dyn Facts> = None;
        unimplemented!("H1")
    }
}
