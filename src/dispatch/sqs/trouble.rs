//! What SQS and the way to it answer when a call fails, as far as it says what to do next.
//!
//! Nothing in it has an address, an account or a credential.

use std::error::Error;
use std::fmt;
use std::io;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

/// The codes of a queue that is not there, with and without the prefix of the older protocol.
const MISSING: [&str; 2] = ["NonExistentQueue", "QueueDoesNotExist"];
/// What codes have in them that say to try again.
const AWAY: [&str; 8] = [
    "Throttl",
    "TooManyRequests",
    "RequestLimit",
    "OverLimit",
    "Unavailable",
    "InternalError",
    "InternalFailure",
    "RequestTimeout",
];
/// What codes have in them that say who may not do what. Their sentences name accounts, users and
/// sometimes the whole request.
const DENIED: [&str; 9] = [
    "AccessDenied",
    "InvalidSecurity",
    "InvalidAccessKey",
    "Signature",
    "Token",
    "UnrecognizedClient",
    "OptIn",
    "Auth",
    "NotAuthorized",
];
/// The longest sentence of the server's that is repeated, in characters.
const SENTENCE_CHARS_MAX: usize = 300;

/// What a failed call comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server cannot be reached, is not well, or wants us to wait: try again.
    Away(String),
    /// The queue is not there.
    Missing(String),
    /// We may not do it.
    Denied(String),
    /// The server will not have it.
    Invalid(String),
}

impl Trouble {
    /// Reads what the library says.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Some(said) = error.as_service_error() else {
            return Self::Away(on_the_way(error));
        };
        let status = error
            .raw_response()
            .map_or(0, |answer| answer.status().as_u16());
        Self::said(status, said.code().unwrap_or(""), said.message())
    }

    /// Reads a code of the server's and its sentence.
    pub(super) fn said(status: u16, code: &str, sentence: Option<&str>) -> Self {
        // The older protocol puts the service's name before it.
        let code = code.rsplit('.').next().unwrap_or_default();
        let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
        let sentence: String = sentence
            .unwrap_or("")
            .chars()
            .take(SENTENCE_CHARS_MAX)
            .collect();
        let whole = match (code, sentence.as_str()) {
            ("", _) => format!("it answers with status {status}"),
            (code, "") => code.to_owned(),
            (code, sentence) => format!("{code}: {sentence}"),
        };
        if has(&MISSING) {
            Self::Missing(whole)
        } else if status == 429 || has(&AWAY) {
            Self::Away(whole)
        } else if matches!(status, 401 | 403) || has(&DENIED) {
            Self::Denied(format!("it is not permitted: {code}"))
        } else if status >= 500 {
            Self::Away(whole)
        } else {
            Self::Invalid(whole)
        }
    }

    /// What is wrong, in words.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Away(words)
            | Self::Missing(words)
            | Self::Denied(words)
            | Self::Invalid(words) => words,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.words())
    }
}

/// A call that got no answer. What the library says of it may have the server's address in it.
fn on_the_way(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            found = Some(format!("it cannot be reached: {}", plain(error)));
        } else if error.to_string().contains("credentials") {
            found = Some("no AWS credentials are to be had".to_owned());
        }
        cause = error.source();
    }
    found.unwrap_or_else(|| "it cannot be reached".to_owned())
}

/// The system's own words where they are the system's, else no more than the kind.
fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.to_string(),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_to_do_next() {
        let of = |status, code| Trouble::said(status, code, Some("a sentence"));
        for code in [
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
        ] {
            assert!(matches!(of(400, code), Trouble::Missing(_)), "{code}");
        }
        for (status, code) in [
            (400, "RequestThrottled"),
            (403, "ThrottlingException"),
            (400, "OverLimit"),
            (500, "InternalFailure"),
            (503, ""),
            (429, "Whatever"),
        ] {
            assert!(matches!(of(status, code), Trouble::Away(_)), "{code}");
        }
        for (status, code) in [
            (400, "AccessDeniedException"),
            (403, "InvalidClientTokenId"),
            (403, "SignatureDoesNotMatch"),
            (400, "KmsAccessDenied"),
            (403, "Whatever"),
        ] {
            let denied = Trouble::Denied(format!("it is not permitted: {code}"));
            assert_eq!(of(status, code), denied);
        }
        let invalid = Trouble::Invalid("InvalidParameterValue: a sentence".to_owned());
        assert_eq!(of(400, "InvalidParameterValue"), invalid);
    }

    #[test]
    fn what_is_said_of_the_way_has_no_address() {
        #[derive(Debug, thiserror::Error)]
        #[error("tcp connect error to 10.1.2.3:9324")]
        struct Outer(#[source] io::Error);
        let refused = io::Error::from_raw_os_error(111);
        let words = on_the_way(&Outer(refused));
        assert_eq!(
            words,
            "it cannot be reached: Connection refused (os error 111)"
        );
        let named = io::Error::other("10.1.2.3 is not there");
        assert_eq!(
            on_the_way(&Outer(named)),
            "it cannot be reached: other error"
        );
    }
}
