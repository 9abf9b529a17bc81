//! A participant that answers whatever a test wants, byte for byte, and remembers what it was
//! asked. It speaks just enough HTTP/1.1 for that: one request a connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, names in lower case; of a repeated one the last.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// A header; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing, and the connection stays open.
    Silence,
    /// These bytes after this time.
    Late(Duration, Vec<u8>),
}

impl Reply {
    /// A status line, headers and a body.
    #[must_use]
    pub fn http(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self::Bytes(http(status, headers, body.as_ref()))
    }

    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = [("content-type", "application/json")];
        Self::http(status, &headers, body.to_string())
    }

    /// A problem+json body.
    #[must_use]
    pub fn problem(status: u16, body: &serde_json::Value) -> Self {
        let headers = [("content-type", "application/problem+json")];
        Self::http(status, &headers, body.to_string())
    }
}

/// An answer as bytes.
#[must_use]
pub fn http(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n")
            .into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A running participant. Ends when dropped.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Scripted {
    /// Starts one on a free port of loopback, on a thread of its own.
    ///
    /// # Panics
    /// When nothing can be listened on.
    #[must_use]
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let book = Arc::clone(&asked);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (script, book) = (Arc::clone(&script), Arc::clone(&book));
                tokio::spawn(async move { exchange(stream, &*script, &book).await });
            }
        });
        Self {
            address,
            asked,
            runtime: Some(runtime),
        }
    }

    /// Its URL under any name.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Everything it was asked, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it was asked for a step.
    #[must_use]
    pub fn asked_for(&self, saga: &str, step: &str) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| {
            asked.header("amends-saga-id") == saga && asked.header("amends-step") == step
        });
        asked
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn exchange(mut stream: TcpStream, script: &Script, book: &Mutex<Vec<Asked>>) {
    let Some(asked) = read(&mut stream).await else {
        return;
    };
    let reply = script(&asked);
    book.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(asked);
    let bytes = match reply {
        Reply::Bytes(bytes) => bytes,
        Reply::Late(after, bytes) => {
            tokio::time::sleep(after).await;
            bytes
        }
        // Until the caller hangs up.
        Reply::Silence => {
            stream.read_exact(&mut [0; 1]).await.ok();
            return;
        }
    };
    // The caller may have gone.
    stream.write_all(&bytes).await.ok();
    stream.shutdown().await.ok();
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (method, path) = (request.next()?.to_owned(), request.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length");
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked {
        method,
        path,
        headers,
        body,
    })
}
