//! Against real sockets: servers that answer well, badly, and not at all.

mod answers;
mod broken;
mod requests;
mod secure;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::config::{Guards, HttpTransport};
use crate::definition::request::{Method, Target};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    KeepAlive,
    Close,
}

/// A server of whole requests, one thread a connection.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    closed: Arc<Mutex<usize>>,
}

impl Server {
    /// Answers the request `text` on `stream`, `number` from 0 over all connections.
    fn new(answer: impl Fn(&mut TcpStream, &str, usize) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            connections: Arc::default(),
            closed: Arc::default(),
        };
        let (requests, connections) = (server.requests.clone(), server.connections.clone());
        let (answer, closed) = (Arc::new(answer), server.closed.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (requests, answer) = (requests.clone(), answer.clone());
                let closed = closed.clone();
                *connections.lock().unwrap() += 1;
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    while let Some(request) = read_request(&mut stream) {
                        let number = {
                            let mut requests = requests.lock().unwrap();
                            requests.push(request.clone());
                            requests.len() - 1
                        };
                        if answer(&mut stream, &request, number) == Then::Close {
                            break;
                        }
                    }
                    drop(stream);
                    *closed.lock().unwrap() += 1;
                });
            }
        });
        server
    }

    /// Answers everything with `text`, line breaks as they are.
    fn saying(text: impl Into<Vec<u8>>, then: Then) -> Self {
        let text = text.into();
        Self::new(move |stream, _, _| {
            // The client may have gone away already.
            stream.write_all(&text).ok();
            then
        })
    }

    /// Answers everything with this status, these header lines and this body.
    fn answering(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::saying(
            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}"),
            Then::KeepAlive,
        )
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    fn closed(&self) -> usize {
        *self.closed.lock().unwrap()
    }

    fn dispatcher(&self) -> Dispatcher {
        dispatcher(&self.url)
    }
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

fn transport(url: &str) -> HttpTransport {
    HttpTransport {
        url: url.parse().unwrap(),
        response_max_bytes: 1_000,
        headers: Vec::new(),
        tls: None,
    }
}

fn reaching(transport: HttpTransport) -> Result<Dispatcher, DispatchError> {
    let participant = Participant {
        timeout_ms: 5_000,
        transport: Transport::Http(transport),
        guards: Guards::default(),
    };
    let participants = BTreeMap::from([("payment".to_owned(), participant)]);
    Dispatcher::new(Means {
        participants: &participants,
        rabbitmq: None,
        sqs: None,
        locals: Locals::default(),
        published: OnPublished::new(|_, _| {}),
    })
}

fn dispatcher(url: &str) -> Dispatcher {
    reaching(transport(url)).unwrap()
}

impl Dispatcher {
    /// A call that no guard has to let pass.
    async fn call(&self, attempt: &Attempt, now: Timestamp) -> Outcome {
        match self.send(Pass::free(), attempt, now).await {
            Sent::Ended(outcome) => outcome,
            other @ (Sent::Accepted { .. } | Sent::Unsent) => panic!("not ended: {other:?}"),
        }
    }
}

fn attempt() -> Attempt {
    Attempt {
        saga: "0198c7a0-0000-7000-8000-000000000001".parse().unwrap(),
        definition: "order_fulfilment/1".into(),
        step: "charge_payment".into(),
        participant: "payment".into(),
        phase: Phase::Action,
        number: 1,
        action_outcome: None,
        fence: 7,
        traceparent: None,
        tracestate: None,
        timeout_ms: None,
        not_after: None,
        request: Request {
            target: Target::Command("charge".to_owned()),
            query: String::new(),
            headers: Vec::new(),
            body: Some(json!({ "amount": 40 }).to_string()),
        },
        refuse_on: Vec::new(),
        retry_on: Vec::new(),
        callback: None,
    }
}

fn compensation() -> Attempt {
    let action_outcome = Some(ActionOutcome::Unknown);
    Attempt {
        phase: Phase::Compensation,
        action_outcome,
        ..attempt()
    }
}

fn get(path: &str) -> Request {
    Request {
        target: Target::Http {
            method: Method::Get,
            path: path.to_owned(),
        },
        query: String::new(),
        headers: Vec::new(),
        body: None,
    }
}

fn succeeded(output: Value) -> Outcome {
    Outcome::Succeeded { output }
}

/// The code of a transient outcome.
fn transient_code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Transient { error, .. } => &error.code,
        Outcome::Succeeded { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => {
            panic!("not transient: {outcome:?}")
        }
    }
}

/// Code and message of a refusal.
fn refusal(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::Refused(error) => (error.code, error.message),
        Outcome::Succeeded { .. } | Outcome::Transient { .. } | Outcome::Unknown(_) => {
            panic!("not refused: {outcome:?}")
        }
    }
}
