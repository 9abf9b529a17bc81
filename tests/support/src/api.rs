//! A small client of the API, as any client would be written.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{eventually, install_tls};

/// A client of one coordinator's API.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    client: reqwest::Client,
}

/// An answer: its status, and its body where that is JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The `code` of a problem.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// A header; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The `id` of what was answered.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn id(&self) -> String {
        let id = self.body["id"].as_str();
        id.unwrap_or_else(|| panic!("no id in {} {}", self.status, self.body))
            .to_owned()
    }
}

impl Api {
    /// A client of the API at `base`, `http://HOST:PORT`.
    ///
    /// # Panics
    /// When TLS cannot be had.
    #[must_use]
    pub fn new(base: impl Into<String>) -> Self {
        install_tls();
        let builder = reqwest::Client::builder().timeout(Duration::from_secs(70));
        Self {
            base: base.into(),
            client: builder.build().expect("a client"),
        }
    }

    /// The client underneath.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A request to `/api/v1{path}`, to be completed and given to [`send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}/api/v1{path}", self.base))
    }

    /// GET.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        send(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// Publishes a definition in YAML.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn publish(&self, yaml: &str) -> reqwest::Result<Answer> {
        let request = self.request(Method::POST, "/definitions");
        send(
            request
                .header("content-type", "application/yaml")
                .body(yaml.to_owned()),
        )
        .await
    }

    /// Starts a saga; with `key` under that `Idempotency-Key`.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn start(
        &self,
        definition: &str,
        input: &Value,
        key: Option<&str>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.request(Method::POST, "/sagas");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        send(request.json(&json!({ "definition": definition, "input": input }))).await
    }

    /// One saga with its steps.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn saga(&self, id: &str) -> reqwest::Result<Answer> {
        self.get(&format!("/sagas/{id}")).await
    }

    /// The saga once it has one of these statuses; a coordinator that is away is waited for.
    ///
    /// # Panics
    /// When it has none of them within `limit`.
    pub async fn wait_for(&self, id: &str, statuses: &[&str], limit: Duration) -> Value {
        let what = format!("saga {id} to be one of {statuses:?}");
        eventually(&what, limit, async || {
            let answer = self.saga(id).await.ok()?;
            let status = answer.body["status"].as_str()?;
            statuses.contains(&status).then(|| answer.body.clone())
        })
        .await
    }

    /// The saga once it is completed, compensated or failed.
    ///
    /// # Panics
    /// When it is none of them within `limit`.
    pub async fn settled(&self, id: &str, limit: Duration) -> Value {
        self.wait_for(id, &["completed", "compensated", "failed"], limit)
            .await
    }
}

/// Sends a request and reads the answer.
///
/// # Errors
/// When nothing was answered.
pub async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status();
    let headers = response.headers().clone();
    let body = response.bytes().await?;
    Ok(Answer {
        status,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}
