//! The HTTP client that the driver, the proxy and the bare calls use: the library that the
//! coordinator reaches participants with, set as it is there.

use anyhow::Result;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A pool of connections.
pub(crate) type Client = legacy::Client<HttpConnector, Full<Bytes>>;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The whole body.
    pub(crate) body: Bytes,
}

/// A client with no connection yet.
pub(crate) fn client() -> Client {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new()).build(tcp)
}

/// Posts JSON and reads the answer to its end.
pub(crate) async fn exchange(
    client: &Client,
    uri: &Uri,
    body: &Bytes,
    prefer: Option<&'static str>,
) -> Result<Answer> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri.clone())
        .header(CONTENT_TYPE, "application/json");
    if let Some(prefer) = prefer {
        request = request.header("prefer", prefer);
    }
    let response = client
        .request(request.body(Full::new(body.clone()))?)
        .await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { status, body })
}
