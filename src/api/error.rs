//! What goes wrong for a client: one closed enum of codes in one table, and its rendering as
//! RFC 9457 `application/problem+json`.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::{examples, words};
use super::wire::definition::Finding;
use crate::definition;
use crate::engine::{CommandError, StartError};
use crate::saga::Rejection;

/// The media type of every error.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a client is told to wait, in seconds, before it tries again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Defines [`ErrorCode`] and its table: the code, the status, the sentence.
macro_rules! error_codes {
    ($($variant:ident = $word:literal $status:ident $sentence:literal;)*) => {
        /// The stable word that a client switches on. Closed: what is not here is never answered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $sentence] $variant,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// The sentence: the problem's `title`.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $sentence),* }
            }
        }
    };
}

error_codes! {
    BadRequest = "bad_request" BAD_REQUEST "The request cannot be understood.";
    MalformedJson = "malformed_json" BAD_REQUEST "The body is not JSON.";
    UnknownParameter = "unknown_parameter" BAD_REQUEST "The query has a parameter that this call does not know.";
    ParameterInvalid = "parameter_invalid" BAD_REQUEST "A query parameter has a value that it cannot have.";
    Unauthenticated = "unauthenticated" UNAUTHORIZED "The call needs a credential that is good.";
    BadToken = "bad_token" UNAUTHORIZED "The callback's token is not good for that step.";
    Forbidden = "forbidden" FORBIDDEN "The credential's roles do not allow the call.";
    NotFound = "not_found" NOT_FOUND "There is no such route.";
    SagaNotFound = "saga_not_found" NOT_FOUND "There is no such saga.";
    StepNotFound = "step_not_found" NOT_FOUND "The saga has no such step.";
    SignalUnknown = "signal_unknown" NOT_FOUND "The saga waits for no signal of that name.";
    DefinitionNotFound = "definition_not_found" NOT_FOUND "There is no such definition.";
    DeadLetterNotFound = "dead_letter_not_found" NOT_FOUND "There is no such dead letter.";
    MethodNotAllowed = "method_not_allowed" METHOD_NOT_ALLOWED "The route does not take that method.";
    AlreadyFinished = "already_finished" CONFLICT "The saga has finished.";
    PastPivot = "past_pivot" CONFLICT "The saga is past its pivot and only goes forward.";
    NotFailed = "not_failed" CONFLICT "The saga has not failed.";
    NotResolvable = "not_resolvable" CONFLICT "The step is not in a state that this outcome can settle.";
    NotWaiting = "not_waiting" CONFLICT "The step waits for no reply.";
    DefinitionPaused = "definition_paused" CONFLICT "The definition takes no new starts.";
    VersionConflict = "version_conflict" CONFLICT "Another document is published under that name and version.";
    JournalUnreadable = "journal_unreadable" CONFLICT "The saga's journal cannot be read, so the saga is set aside.";
    AlreadySettled = "already_settled" CONFLICT "The dead letter was replayed or discarded before.";
    NotReplayable = "not_replayable" CONFLICT "The dead letter cannot be sent again as things are.";
    PayloadTooLarge = "payload_too_large" PAYLOAD_TOO_LARGE "The body is longer than is taken.";
    UnsupportedMediaType = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body is of a media type that this call does not take.";
    InputInvalid = "input_invalid" UNPROCESSABLE_ENTITY "The body is not what the call takes.";
    DefinitionInvalid = "definition_invalid" UNPROCESSABLE_ENTITY "The definition has errors.";
    IdempotencyKeyReused = "idempotency_key_reused" UNPROCESSABLE_ENTITY "The idempotency key was used before with another body.";
    TooManySagas = "too_many_sagas" TOO_MANY_REQUESTS "As many sagas are active as may be.";
    TooManyStreams = "too_many_streams" TOO_MANY_REQUESTS "As many event streams are open as may be.";
    TooManySignals = "too_many_signals" TOO_MANY_REQUESTS "As many signals of that name are kept as may be.";
    Internal = "internal" INTERNAL_SERVER_ERROR "Something went wrong that should not have: a bug.";
    NotReady = "not_ready" SERVICE_UNAVAILABLE "This replica cannot change that saga now.";
    Draining = "draining" SERVICE_UNAVAILABLE "This replica is stopping.";
    BrokerUnavailable = "broker_unavailable" SERVICE_UNAVAILABLE "The message broker does not answer.";
    DatabaseUnavailable = "database_unavailable" SERVICE_UNAVAILABLE "The database does not answer.";
}

/// One thing that is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BodyProblem {
    /// A JSON pointer from the body's root, empty for the root itself.
    pub pointer: String,
    /// The JSON Schema keyword that it breaks, in `snake_case`, for example `required`.
    pub code: String,
    /// What is wrong.
    pub detail: String,
}

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// What is wrong this time; the code's sentence when there is no more to say.
    pub detail: Option<String>,
    /// What is wrong with the body, member by member.
    pub errors: Vec<BodyProblem>,
    /// What a check found in a definition.
    pub problems: Vec<definition::Problem>,
    /// The methods that the route takes, with `method_not_allowed`.
    pub allow: Option<&'static str>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code.as_str())?;
        match &self.detail {
            Some(detail) => write!(formatter, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// An error as the client sees it (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(examples(examples::problem))]
pub(super) struct Problem<'a> {
    /// `urn:amends:error:` and the code.
    #[schema(pattern = "^urn:amends:error:[a-z_]+$")]
    r#type: String,
    /// The code's sentence.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time.
    detail: &'a str,
    /// The path that was called.
    instance: &'a str,
    /// A stable word, for clients to switch on.
    #[schema(schema_with = words::error_code)]
    code: &'static str,
    /// What is wrong with the body, member by member.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [BodyProblem],
    /// What a check found in a definition, with `definition_invalid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    problems: Vec<Finding<'a>>,
}

impl ApiError {
    /// An error with nothing to add to its code's sentence.
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            problems: Vec::new(),
            allow: None,
        }
    }

    /// An error with a sentence of its own.
    pub fn with(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(code)
        }
    }

    /// A body that is JSON, but not what the call takes.
    #[must_use]
    pub fn input_invalid(errors: Vec<BodyProblem>) -> Self {
        Self {
            errors,
            ..Self::new(ErrorCode::InputInvalid)
        }
    }

    /// A definition with errors; the problems tell of its warnings, too.
    #[must_use]
    pub fn definition_invalid(problems: Vec<definition::Problem>) -> Self {
        Self {
            problems,
            ..Self::new(ErrorCode::DefinitionInvalid)
        }
    }

    /// The problem that is answered to a request for `instance`.
    pub(super) fn problem<'a>(&'a self, instance: &'a str) -> Problem<'a> {
        Problem {
            r#type: format!("urn:amends:error:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.as_deref().unwrap_or_else(|| self.code.title()),
            instance,
            code: self.code.as_str(),
            errors: &self.errors,
            problems: self.problems.iter().map(Finding::from).collect(),
        }
    }

    /// The whole answer to a request for `instance`.
    pub(super) fn response(&self, instance: &str) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.code.status());
        response.insert_header((CONTENT_TYPE, PROBLEM_JSON));
        for (name, value) in self.headers() {
            response.insert_header((name, value));
        }
        let body = serde_json::to_vec(&self.problem(instance)).unwrap_or_default();
        response.body(body)
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let waits = matches!(
            self.code.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        let retry_after = waits.then_some((RETRY_AFTER, RETRY_AFTER_S));
        let allow = self
            .allow
            .map(|methods| (ALLOW, HeaderValue::from_static(methods)));
        let challenge = (self.code.status() == StatusCode::UNAUTHORIZED)
            .then_some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        retry_after.into_iter().chain(allow).chain(challenge)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response("")
    }
}

impl ApiError {
    /// The error of a start; `pointer` is where the start's object stands in the body.
    pub(super) fn of_start(error: StartError, pointer: &str) -> Self {
        let code = match error {
            StartError::InputInvalid(problems) => {
                let place = |problem: crate::definition::input::InputProblem| BodyProblem {
                    pointer: format!("{pointer}/input{}", problem.pointer),
                    code: problem.code,
                    detail: problem.detail,
                };
                let mut invalid = Self::input_invalid(problems.into_iter().map(place).collect());
                invalid.detail = Some("the input does not fit the definition's schema".to_owned());
                return invalid;
            }
            StartError::DefinitionNotFound { .. } => {
                return Self::with(ErrorCode::DefinitionNotFound, error.to_string());
            }
            StartError::DefinitionPaused { .. } => {
                return Self::with(ErrorCode::DefinitionPaused, error.to_string());
            }
            StartError::KeyReused => ErrorCode::IdempotencyKeyReused,
            StartError::TooManySagas => ErrorCode::TooManySagas,
            StartError::NotReady => ErrorCode::NotReady,
            StartError::Draining => ErrorCode::Draining,
            StartError::DatabaseUnavailable => ErrorCode::DatabaseUnavailable,
            StartError::Internal => ErrorCode::Internal,
        };
        Self::new(code)
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::StepNotFound(_) => {
                return Self::with(ErrorCode::StepNotFound, error.to_string());
            }
            CommandError::Rejected(rejection) => return (*rejection).into(),
            CommandError::NotFound => ErrorCode::SagaNotFound,
            CommandError::JournalUnreadable => ErrorCode::JournalUnreadable,
            CommandError::NotReady => ErrorCode::NotReady,
            CommandError::Draining => ErrorCode::Draining,
            CommandError::DatabaseUnavailable => ErrorCode::DatabaseUnavailable,
            CommandError::Internal => ErrorCode::Internal,
        };
        Self::new(code)
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::new(match rejection {
            Rejection::AlreadyFinished => ErrorCode::AlreadyFinished,
            Rejection::PastPivot => ErrorCode::PastPivot,
            Rejection::NotFailed => ErrorCode::NotFailed,
            Rejection::NotResolvable => ErrorCode::NotResolvable,
            Rejection::NothingAsked => ErrorCode::NotWaiting,
            Rejection::SignalUnknown => ErrorCode::SignalUnknown,
            Rejection::TooManySignals => ErrorCode::TooManySignals,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_one_word_and_an_error_status() {
        let words: HashSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let snake = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(code.as_str().chars().all(snake), "{code:?}");
            assert!(
                code.status().is_client_error() || code.status().is_server_error(),
                "{code:?}"
            );
            assert!(code.title().ends_with('.'), "{code:?}");
        }
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for code in ErrorCode::ALL {
            let response = ApiError::new(*code).response("/");
            let again = matches!(code.status().as_u16(), 429 | 503);
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                again,
                "{code:?}"
            );
        }
    }

    #[test]
    fn every_code_is_documented_and_nothing_more() {
        let page = include_str!("../../docs/errors.md");
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let documented: Vec<Vec<&str>> = rows
            .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let mut expected: Vec<_> = ErrorCode::ALL
            .iter()
            .map(|code| {
                let word = format!("`{}`", code.as_str());
                (word, code.status().as_str().to_owned(), code.title())
            })
            .collect();
        let mut found: Vec<_> = documented
            .iter()
            .map(|row| (row[0].to_owned(), row[1].to_owned(), row[2]))
            .collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        for row in &documented {
            assert_eq!(row.len(), 5, "{row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
    }

    #[test]
    fn who_is_not_known_is_told_how_to_say_so() {
        for code in ErrorCode::ALL {
            let response = ApiError::new(*code).response("/");
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            let expected = (code.status() == StatusCode::UNAUTHORIZED).then_some("Bearer");
            assert_eq!(challenge.map(|value| value.to_str().unwrap()), expected);
        }
    }

    #[test]
    fn a_problem_says_everything() {
        let invalid = ApiError::input_invalid(vec![BodyProblem {
            pointer: "/input/items/0/sku".to_owned(),
            code: "type".to_owned(),
            detail: "must be a string".to_owned(),
        }]);
        let shown = serde_json::to_value(invalid.problem("/api/v1/sagas")).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({
                "type": "urn:amends:error:input_invalid",
                "title": "The body is not what the call takes.",
                "status": 422,
                "detail": "The body is not what the call takes.",
                "instance": "/api/v1/sagas",
                "code": "input_invalid",
                "errors": [
                    { "pointer": "/input/items/0/sku", "code": "type", "detail": "must be a string" }
                ],
            })
        );
    }

    #[test]
    fn the_schemas_pointers_begin_at_the_bodys_root() {
        let problem = crate::definition::input::InputProblem {
            pointer: "/items/0".to_owned(),
            code: "required".to_owned(),
            detail: "`sku` is missing".to_owned(),
        };
        let error = ApiError::of_start(StartError::InputInvalid(vec![problem]), "/sagas/3");
        assert_eq!(error.errors[0].pointer, "/sagas/3/input/items/0");
    }
}
