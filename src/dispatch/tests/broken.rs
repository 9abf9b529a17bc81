//! Answers that are none: late, cut short, garbage, lost.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::*;

async fn code_of(server: &Server) -> String {
    transient_code(&server.dispatcher().call(&attempt(), NOW).await).to_owned()
}

#[tokio::test]
async fn nobody_there_is_connection_failed() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for url in [
        format!("http://127.0.0.1:{port}"),
        "http://no-such-host.invalid".to_owned(),
    ] {
        let outcome = dispatcher(&url).call(&attempt(), NOW).await;
        assert_eq!(
            transient_code(&outcome),
            "connection_failed",
            "{url}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn closed_before_a_byte_is_connection_failed() {
    assert_eq!(
        code_of(&Server::saying("", Then::Close)).await,
        "connection_failed"
    );
    let at_once = Server::new(|stream, _, _| {
        stream.shutdown(Shutdown::Both).unwrap();
        Then::Close
    });
    assert_eq!(code_of(&at_once).await, "connection_failed");
}

/// Closing a socket with unread bytes in it resets the connection.
#[tokio::test]
async fn a_reset_before_a_byte_is_connection_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
    });
    let outcome = dispatcher(&url).call(&attempt(), NOW).await;
    assert_eq!(transient_code(&outcome), "connection_failed", "{outcome:?}");
}

#[tokio::test]
async fn cut_short_or_not_http_is_a_bad_answer() {
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1_000_000));
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[1,2",
        "HTTP/1.1 409 No\r\ncontent-length: 10\r\n\r\n[1,2",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1,2",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x03\x00\x02\x02\x28",
        "220 smtp.example ESMTP\r\n",
        "complete nonsense",
        endless.as_str(),
    ] {
        let shown = text.get(..60).unwrap_or(text);
        let code = code_of(&Server::saying(text, Then::Close)).await;
        assert_eq!(code, "bad_answer", "{shown:?}");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout() {
    let silent = || Server::saying("", Then::KeepAlive);
    let half = || {
        Server::saying(
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[",
            Then::KeepAlive,
        )
    };
    let drip = || {
        Server::new(|stream, _, _| {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
                .unwrap();
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
            Then::Close
        })
    };
    for server in [silent(), half(), drip()] {
        let begun = Instant::now();
        let attempt = Attempt {
            timeout_ms: Some(200),
            ..attempt()
        };
        let outcome = server.dispatcher().call(&attempt, NOW).await;
        assert_eq!(transient_code(&outcome), "timeout");
        let took = begun.elapsed();
        assert!(
            (Duration::from_millis(190)..Duration::from_secs(3)).contains(&took),
            "{took:?}"
        );
    }
}

#[tokio::test]
async fn the_sagas_time_bounds_the_attempt() {
    let server = Server::saying("", Then::KeepAlive);
    let dispatcher = server.dispatcher();
    let soon = Attempt {
        not_after: Some(NOW.plus_ms(100)),
        ..attempt()
    };
    assert_eq!(dispatcher.deadline(&soon, NOW), NOW.plus_ms(100));
    assert_eq!(
        transient_code(&dispatcher.call(&soon, NOW).await),
        "timeout"
    );
    assert_eq!(server.requests().len(), 1);

    let past = Attempt {
        not_after: Some(NOW),
        ..attempt()
    };
    assert_eq!(
        transient_code(&dispatcher.call(&past, NOW).await),
        "timeout"
    );
    assert_eq!(
        server.requests().len(),
        1,
        "nothing is sent when the time is up"
    );

    assert_eq!(
        dispatcher.deadline(&attempt(), NOW),
        NOW.plus_ms(5_000),
        "the participant's"
    );
    let own = Attempt {
        timeout_ms: Some(7),
        ..attempt()
    };
    assert_eq!(dispatcher.deadline(&own, NOW), NOW.plus_ms(7), "the step's");
}

/// A request that may have been written is never sent again without the caller's knowing.
#[tokio::test]
async fn what_was_sent_is_sent_once() {
    let server = Server::new(|stream, _, number| {
        if number == 0 {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            return Then::KeepAlive;
        }
        Then::Close
    });
    let dispatcher = server.dispatcher();
    assert_eq!(
        dispatcher.call(&attempt(), NOW).await,
        succeeded(Value::Null)
    );
    let outcome = dispatcher.call(&attempt(), NOW).await;
    assert_eq!(transient_code(&outcome), "connection_failed", "{outcome:?}");
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.connections(), 1);
}

/// A connection that the peer closed while it was idle costs no attempt.
#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Close);
    let dispatcher = server.dispatcher();
    for count in 1..=20 {
        assert_eq!(
            dispatcher.call(&attempt(), NOW).await,
            succeeded(Value::Null)
        );
        assert_eq!(server.requests().len(), count);
        while server.closed() < count {
            tokio::task::yield_now().await;
        }
        // The connection's own task has to see it too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn connections_are_kept() {
    let server = Server::answering(200, "", "[]");
    let dispatcher = server.dispatcher();
    for _ in 0..5 {
        dispatcher.call(&attempt(), NOW).await;
    }
    assert_eq!((server.requests().len(), server.connections()), (5, 1));
}
