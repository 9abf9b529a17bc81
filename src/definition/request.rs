//! What is asked of a participant: the compiled call, and the request that it renders to.

use super::expression::{
    ExpressionError, Facts, PathTemplate, Scope, Template, TextTemplate, push_encoded, push_json,
};
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
        scope: &Scope<'_>,
    ) -> Result<Request, ExpressionError> {
        let target = match &self.target {
            CallTarget::Http { method, path } => Target::Http {
                method: *method,
                path: path.render(scope)?,
            },
            CallTarget::Command(command) => Target::Command(command.clone()),
        };
        let mut query = String::new();
        for (name, value) in &self.query {
            if !query.is_empty() {
                query.push('&');
            }
            push_encoded(name, &mut query);
            query.push('=');
            push_encoded(&value.render_text(scope)?, &mut query);
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            headers.push((name.clone(), value.render(scope)?));
        }
        let body = self.body(step, phase, scope)?;
        Ok(Request {
            target,
            query,
            headers,
            body,
        })
    }

    fn body(
        &self,
        step: StepIndex,
        phase: Phase,
        scope: &Scope<'_>,
    ) -> Result<Option<String>, ExpressionError> {
        let mut text = String::new();
        match (&self.body, phase) {
            (CallBody::Declared(template), _) => template.write(scope, &mut text)?,
            (CallBody::Default, _) if self.target.is_bodiless() => return Ok(None),
            (CallBody::Default, Phase::Action) => push_json(scope.facts().input(), &mut text),
            (CallBody::Default, Phase::Compensation) => {
                push_input_and_output(scope.facts(), step, &mut text);
            }
        }
        Ok(Some(text))
    }
}

impl CallTarget {
    /// Whether it is sent without a body unless one is declared.
    fn is_bodiless(&self) -> bool {
        matches!(
            self,
            Self::Http {
                method: Method::Get | Method::Delete,
                ..
            }
        )
    }
}

fn push_input_and_output(facts: &dyn Facts, step: StepIndex, text: &mut String) {
    text.push_str("{\"input\":");
    push_json(facts.input(), text);
    text.push_str(",\"output\":");
    match facts.step_output(step) {
        Some(output) => push_json(output, text),
        None => text.push_str("null"),
    }
    text.push('}');
}
