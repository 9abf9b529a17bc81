//! A saga's events as a stream, read as any client of server-sent events would.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use crate::api::{Answer, Api};

/// How long a stream may be silent: it has a comment every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: Option<u64>,
    /// Its type.
    pub event: String,
    /// What it carries.
    pub data: Value,
}

/// A stream of messages.
#[derive(Debug)]
pub struct Stream {
    response: Response,
    text: Vec<u8>,
    ready: VecDeque<Message>,
    comments: usize,
}

impl Stream {
    /// Follows a saga, behind the event `seen`.
    ///
    /// # Errors
    /// With the answer that is no stream.
    ///
    /// # Panics
    /// When nothing is answered.
    pub async fn open(api: &Api, saga: &str, seen: Option<u64>) -> Result<Self, Answer> {
        let mut request = api
            .request(Method::GET, &format!("/sagas/{saga}/events"))
            .timeout(Duration::from_secs(300))
            .header("accept", "text/event-stream");
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen.to_string());
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let headers = response.headers().clone();
        if status == 200 {
            assert_eq!(headers["content-type"], "text/event-stream");
            return Ok(Self {
                response,
                text: Vec::new(),
                ready: VecDeque::new(),
                comments: 0,
            });
        }
        let body = response.bytes().await.expect("a body");
        Err(Answer {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    /// The next message; nothing when the stream is closed or the connection lost.
    ///
    /// # Panics
    /// When it is silent for too long, or says what no stream of ours says.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            let piece = tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await;
            let piece = piece.expect("no comment in time").ok().flatten()?;
            let mut looked_at = self.text.len().saturating_sub(1);
            self.text.extend_from_slice(&piece);
            let end_in = |text: &[u8]| text.windows(2).position(|two| two == b"\n\n");
            while let Some(end) = end_in(&self.text[looked_at..]) {
                let message: Vec<u8> = self.text.drain(..looked_at + end + 2).collect();
                self.take(&String::from_utf8(message).expect("UTF-8"));
                looked_at = 0;
            }
        }
    }

    /// The messages up to one of this type, that one included.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn until(&mut self, event: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let next = self.next().await;
            let next = next.unwrap_or_else(|| panic!("no {event} after {messages:?}"));
            let last = next.event == event;
            messages.push(next);
            if last {
                return messages;
            }
        }
    }

    /// How many comments there were.
    #[must_use]
    pub fn comments(&self) -> usize {
        self.comments
    }

    fn take(&mut self, text: &str) {
        let mut message = Message {
            id: None,
            event: String::new(),
            data: Value::Null,
        };
        for line in text.trim_end().lines() {
            match line.split_once(": ") {
                Some(("id", id)) => message.id = Some(id.parse().expect("a number")),
                Some(("event", event)) => event.clone_into(&mut message.event),
                Some(("data", data)) => {
                    message.data = serde_json::from_str(data).expect("JSON");
                }
                _ if line.starts_with(':') => {
                    self.comments += 1;
                    return;
                }
                _ => panic!("what is {line:?}?"),
            }
        }
        self.ready.push_back(message);
    }
}
