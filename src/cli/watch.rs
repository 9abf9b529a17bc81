//! `amends watch`: follows a saga live, and tells what happens as it happens. A connection that is
//! lost is made again, behind the last event that was seen.

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::Value;

use super::Verdict;
use super::arguments::OneSaga;
use super::client::{Client, ClientError};
use super::error::CliError;
use super::fact::{Fact, SagaView};
use super::layout;
use super::narrate::{Clock, Narrator};
use super::output::Output;
use super::sse::{Message, Parser};

/// How soon a lost connection is made again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a coordinator may be away before the watch is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a stream may be silent: it has a comment every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// A stream has no end that would be known before.
const STREAM_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How a watch shows what it sees.
pub(super) enum Style {
    /// Lines for people.
    Told(Narrator),
    /// One JSON object a line.
    Json,
}

/// `amends watch ID`
pub(super) async fn run(watch: OneSaga, mut output: Output) -> Result<Verdict, CliError> {
    let client = watch.connection.client()?;
    let saga: SagaView = client.get(&["sagas", &watch.id], &[]).await?;
    follow_to_the_end(&client, &saga, watch.connection.json, &mut output).await
}

/// Follows a saga, and says at the end what became of it.
pub(super) async fn follow_to_the_end(
    client: &Client,
    saga: &SagaView,
    json: bool,
    output: &mut Output,
) -> Result<Verdict, CliError> {
    let steps = saga.steps.iter().map(|step| step.id.as_str());
    let style = if json {
        Style::Json
    } else {
        Style::Told(Narrator::new(Clock::Wall, steps))
    };
    follow(client, &saga.id, style, output).await?;
    let end: SagaView = client.get(&["sagas", &saga.id], &[]).await?;
    if !json {
        output.line(layout::closing(&end, output))?;
    }
    Ok(if end.status == "completed" {
        Verdict::Yes
    } else {
        Verdict::No
    })
}

/// Tells a saga's facts from the first, until it has finished or failed.
pub(super) async fn follow(
    client: &Client,
    id: &str,
    style: Style,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut following = Following {
        seen: None,
        style,
        output,
    };
    let mut pause = AGAIN.0;
    let mut answered = Instant::now();
    loop {
        match open(client, id, following.seen.as_deref()).await {
            Ok(stream) => {
                let seen = following.seen.clone();
                if following.read(stream).await? == Ended::Settled {
                    return Ok(());
                }
                answered = Instant::now();
                if following.seen != seen {
                    pause = AGAIN.0;
                }
            }
            Err(error) if error.may_pass() && answered.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
        following
            .output
            .passing("the connection was lost; trying again")?;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
    }
}

async fn open(client: &Client, id: &str, seen: Option<&str>) -> Result<Response, ClientError> {
    let mut request = client
        .request(Method::GET, &["sagas", id, "events"])
        .header("accept", "text/event-stream")
        .timeout(STREAM_TIMEOUT);
    if let Some(seen) = seen {
        request = request.header("last-event-id", seen);
    }
    client.open(request).await
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The saga has finished or failed.
    Settled,
    /// The connection was lost, or the coordinator drains.
    Lost,
}

/// A saga that is followed, over as many connections as it takes.
struct Following<'a> {
    /// The number of the last event that was told.
    seen: Option<String>,
    style: Style,
    output: &'a mut Output,
}

impl Following<'_> {
    async fn read(&mut self, mut stream: Response) -> Result<Ended, CliError> {
        let mut parser = Parser::default();
        loop {
            let Ok(Ok(Some(piece))) = tokio::time::timeout(SILENCE_MAX, stream.chunk()).await
            else {
                return Ok(Ended::Lost);
            };
            let messages = parser
                .take(&piece)
                .map_err(|error| CliError::NoAnswer(error.to_string()))?;
            for message in messages {
                if message.event == "end" {
                    return Ok(Ended::Settled);
                }
                self.tell(message)?;
            }
        }
    }

    fn tell(&mut self, message: Message) -> Result<(), CliError> {
        if message.id.is_some() {
            self.seen = message.id;
        }
        match &mut self.style {
            Style::Json => {
                let value: Value = serde_json::from_str(&message.data).unwrap_or_default();
                self.output.line(value)
            }
            Style::Told(narrator) => {
                let fact = serde_json::from_str::<Fact>(&message.data).ok();
                match fact.and_then(|fact| narrator.tell(&fact, self.output)) {
                    Some(line) => self.output.line(line),
                    None => Ok(()),
                }
            }
        }
    }
}
