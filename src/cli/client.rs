//! The API, called over HTTP as any client would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, Identity, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::arguments::Trust;

/// How long an answer may take: longer than the longest `Prefer: wait`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one coordinator.
#[derive(Clone, Debug)]
pub(super) struct Client {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Not where an API could be.
    #[error("{text} is not a URL like http://localhost:8080")]
    Url {
        /// What was given.
        text: String,
    },
    /// What the connection should trust, or show, cannot be used.
    #[error("{} cannot be used for TLS", path.display())]
    Trust {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: TrustError,
    },
    /// Nobody answered.
    #[error("no coordinator answers at {base}; is `amends serve` running there?")]
    Unreachable {
        /// Where it should have been.
        base: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// The coordinator said no.
    #[error("{0}")]
    Refused(Problem),
    /// Somebody answered, but no coordinator.
    #[error("what answers at {base} is no coordinator (status {status})")]
    Strange {
        /// Where.
        base: Url,
        /// With which status.
        status: u16,
    },
}

/// Why a file is of no use for TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It does not hold what it should.
    #[error(transparent)]
    Use(#[from] reqwest::Error),
    /// There is nothing in it.
    #[error("it holds no certificate")]
    Empty,
}

/// An answer that says no.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(super) struct Problem {
    /// The status.
    pub(super) status: u16,
    /// The code.
    pub(super) code: String,
    /// The sentence.
    pub(super) detail: String,
    /// What is wrong with the body.
    #[serde(default)]
    pub(super) errors: Vec<MemberProblem>,
    /// What was found in a definition.
    #[serde(default)]
    pub(super) problems: Vec<FoundProblem>,
}

/// One thing that was found in a definition.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(super) struct FoundProblem {
    /// The line, from 1.
    pub(super) line: usize,
    /// The column, from 1.
    pub(super) column: usize,
    /// `error` or `warning`.
    pub(super) severity: String,
    /// A stable word.
    pub(super) code: String,
    /// A sentence that says what to do.
    pub(super) message: String,
}

/// One thing that is wrong with a body.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(super) struct MemberProblem {
    /// Where.
    pub(super) pointer: String,
    /// What.
    pub(super) detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} ({})",
            self.detail.trim_end_matches('.'),
            self.code
        )?;
        self.errors.iter().try_for_each(|error| {
            let pointer = if error.pointer.is_empty() {
                "the body"
            } else {
                &error.pointer
            };
            write!(formatter, "\n  {pointer}: {}", error.detail)
        })
    }
}

impl ClientError {
    /// Whether the same call may go well a little later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 503),
            Self::Url { .. } | Self::Trust { .. } | Self::Strange { .. } => false,
        }
    }
}

impl Client {
    /// A client of the coordinator at `base`.
    pub(super) fn new(base: &str, token: Option<&str>) -> Result<Self, ClientError> {
        Self::trusting(base, token, &Trust::default())
    }

    /// A client of the coordinator at `base` that trusts, and shows, what `trust` says.
    pub(super) fn trusting(
        base: &str,
        token: Option<&str>,
        trust: &Trust,
    ) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url {
            text: base.to_owned(),
        };
        let url = Url::parse(base).map_err(|_wrong| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong());
        }
        let builder = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("amends/", env!("CARGO_PKG_VERSION")));
        let builder = secured(builder, trust)?;
        let unusable = |source| ClientError::Unreachable {
            base: url.clone(),
            source,
        };
        let http = builder.build().map_err(unusable)?;
        Ok(Self {
            base: url,
            token: token.map(str::to_owned),
            http,
        })
    }

    /// A request to the API; the path's segments are encoded.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// GET.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        self.send(self.request(Method::GET, path).query(query))
            .await
    }

    /// POST with a JSON body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &Value,
    ) -> Result<T, ClientError> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a request and reads its answer.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        let (status, body) = self.exchange(request).await?;
        serde_json::from_slice(&body).map_err(|_wrong| self.strange(status))
    }

    /// Sends a request; the status and the body of an answer that says yes.
    pub(super) async fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            base: self.base.clone(),
            source,
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok((status, body.into()));
        }
        Err(self.refusal(status, &body))
    }

    /// Sends a request whose answer is read as it comes.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            base: self.base.clone(),
            source,
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.map_err(unreachable)?;
        Err(self.refusal(status, &body))
    }

    /// What an answer that says no means.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice(body) {
            Ok(problem) => ClientError::Refused(problem),
            Err(_no_problem) => self.strange(status),
        }
    }

    /// Whoever answered is no coordinator.
    pub(super) fn strange(&self, status: StatusCode) -> ClientError {
        ClientError::Strange {
            base: self.base.clone(),
            status: status.as_u16(),
        }
    }
}

/// The client with its authorities, in place of the system's, and its certificate.
fn secured(mut builder: ClientBuilder, trust: &Trust) -> Result<ClientBuilder, ClientError> {
    let wrong = |path: &Path, source: TrustError| ClientError::Trust {
        path: path.to_owned(),
        source,
    };
    let read = |path: &Path| std::fs::read(path).map_err(|source| wrong(path, source.into()));
    if let Some(path) = &trust.ca {
        let authorities = Certificate::from_pem_bundle(&read(path)?)
            .map_err(|source| wrong(path, source.into()))?;
        if authorities.is_empty() {
            return Err(wrong(path, TrustError::Empty));
        }
        builder = builder.tls_certs_only(authorities);
    }
    if let (Some(path), Some(key)) = (&trust.certificate, &trust.certificate_key) {
        let mut pem = read(key)?;
        pem.push(b'\n');
        pem.extend(read(path)?);
        let identity = Identity::from_pem(&pem).map_err(|source| wrong(path, source.into()))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_an_api() {
        for bad in ["", "localhost:8080", "ftp://host", "unix:/x"] {
            let error = Client::new(bad, None).map(drop).unwrap_err();
            assert!(matches!(error, ClientError::Url { .. }), "{bad}");
        }
    }

    #[test]
    fn a_problem_is_told_in_words() {
        let problem = Problem {
            status: 422,
            code: "input_invalid".to_owned(),
            detail: "The body is not what the call takes.".to_owned(),
            errors: vec![MemberProblem {
                pointer: "/input/total".to_owned(),
                detail: "must be a number".to_owned(),
            }],
            problems: Vec::new(),
        };
        assert_eq!(
            problem.to_string(),
            "The body is not what the call takes (input_invalid)\n  /input/total: must be a number"
        );
    }
}
