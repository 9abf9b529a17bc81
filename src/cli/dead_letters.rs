//! `amends dead-letters`: messages that nobody could take.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Verdict;
use super::arguments::{Connection, DeadLettersCommand, ListDeadLetters};
use super::error::CliError;
use super::fact::Page;
use super::output::{Output, Tone};

/// A dead letter, as far as people are told of it.
#[derive(Clone, Debug, Deserialize)]
struct Letter {
    id: String,
    status: String,
    transport: String,
    queue: String,
    participant: Option<String>,
    reason: String,
    deliveries: u32,
    received_at: DateTime<Utc>,
    saga: Option<String>,
    step: Option<String>,
    phase: Option<String>,
    message: Value,
    message_encoding: Option<String>,
    headers: Map<String, Value>,
    settled_at: Option<DateTime<Utc>>,
    settled_by: Option<String>,
    note: Option<String>,
}

/// `amends dead-letters …`
pub(super) async fn run(
    command: DeadLettersCommand,
    mut output: Output,
) -> Result<Verdict, CliError> {
    match command {
        DeadLettersCommand::List(letters) => list(&letters, &mut output).await,
        DeadLettersCommand::Show(one) => {
            let client = one.connection.client()?;
            let answer: Value = client.get(&["dead-letters", &one.id], &[]).await?;
            show(&answer, &one.connection, whole, &mut output)
        }
        DeadLettersCommand::Replay(one) => {
            let client = one.connection.client()?;
            let path = ["dead-letters", &one.id, "replay"];
            let answer: Value = client.post(&path, &json!({})).await?;
            show(&answer, &one.connection, settled, &mut output)
        }
        DeadLettersCommand::Discard(discard) => {
            let client = discard.connection.client()?;
            let path = ["dead-letters", &discard.id, "discard"];
            let body = json!({ "reason": discard.reason });
            let answer: Value = client.post(&path, &body).await?;
            show(&answer, &discard.connection, settled, &mut output)
        }
    }
}

async fn list(list: &ListDeadLetters, output: &mut Output) -> Result<Verdict, CliError> {
    let client = list.connection.client()?;
    let query = query(list);
    if list.connection.json {
        let page: Value = client.get(&["dead-letters"], &query).await?;
        output.json(&page)?;
        return Ok(Verdict::Yes);
    }
    let page: Page<Letter> = client.get(&["dead-letters"], &query).await?;
    for line in columns(&page.items, output) {
        output.line(line)?;
    }
    if page.items.is_empty() {
        output.line(output.toned(Tone::Faint, "no dead letters"))?;
    }
    if let Some(cursor) = page.next_cursor {
        output.line(output.toned(Tone::Faint, &format!("more: --cursor {cursor}")))?;
    }
    Ok(Verdict::Yes)
}

fn query(list: &ListDeadLetters) -> Vec<(&'static str, String)> {
    let one = [
        ("queue", &list.queue),
        ("participant", &list.participant),
        ("saga", &list.saga),
        ("transport", &list.transport),
        ("reason", &list.reason),
        ("received_after", &list.received_after),
        ("received_before", &list.received_before),
        ("cursor", &list.cursor),
    ];
    let mut query = vec![("limit", list.limit.to_string())];
    query.extend(
        one.into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    let statuses = list.statuses.iter();
    query.extend(statuses.map(|status| ("status", status.clone())));
    query
}

/// Shows a letter that the API answered, laid out in this way.
fn show(
    answer: &Value,
    connection: &Connection,
    layout: fn(&Letter, &Output) -> Vec<String>,
    output: &mut Output,
) -> Result<Verdict, CliError> {
    match serde_json::from_value::<Letter>(answer.clone()) {
        Ok(letter) if !connection.json => {
            for line in layout(&letter, output) {
                output.line(line)?;
            }
        }
        Ok(_) | Err(_) => output.json(answer)?,
    }
    Ok(Verdict::Yes)
}

/// The symbol and the tone of a status.
fn mark(status: &str) -> (&'static str, Tone) {
    match status {
        "open" => ("✗", Tone::Bad),
        "replayed" => ("↻", Tone::Good),
        _ => ("·", Tone::Faint),
    }
}

/// Letters in columns: which, how it stands, since when, where it was going, why it is dead, and
/// what it is about.
fn columns(letters: &[Letter], output: &Output) -> Vec<String> {
    let width = |text: fn(&Letter) -> &str| {
        let lengths = letters.iter().map(|letter| text(letter).chars().count());
        lengths.max().unwrap_or(0)
    };
    let queue_width = width(|letter| &letter.queue);
    // What is wrong with a reply is a sentence, and is not waited for.
    let reason_width = width(|letter| &letter.reason).min(16);
    let line = |letter: &Letter| {
        let (symbol, tone) = mark(&letter.status);
        let received = letter.received_at.format("%Y-%m-%d %H:%M:%S").to_string();
        let told = format!(
            "{}  {} {}  {}  {:<queue_width$}  {:<reason_width$}  {}",
            letter.id,
            output.toned(tone, symbol),
            output.toned(tone, &format!("{:<9}", letter.status)),
            output.toned(Tone::Faint, &received),
            letter.queue,
            letter.reason,
            output.toned(Tone::Faint, &about(letter)),
        );
        told.trim_end().to_owned()
    };
    letters.iter().map(line).collect()
}

/// What a letter is about: the saga, the step, the call.
fn about(letter: &Letter) -> String {
    let said = [&letter.saga, &letter.step, &letter.phase];
    let said: Vec<&str> = said.into_iter().flatten().map(String::as_str).collect();
    said.join(" ")
}

/// What became of a letter, in one line.
fn settled(letter: &Letter, output: &Output) -> Vec<String> {
    let (symbol, tone) = mark(&letter.status);
    let head = output.toned(tone, &format!("{symbol} {}", letter.status));
    let note = letter.note.as_deref().unwrap_or_default();
    let told = format!(
        "{head}  {}  {}",
        letter.queue,
        output.toned(Tone::Faint, note)
    );
    vec![told.trim_end().to_owned()]
}

/// A letter with its message.
fn whole(letter: &Letter, output: &Output) -> Vec<String> {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S%.3f").to_string();
    let (symbol, tone) = mark(&letter.status);
    let mut lines = vec![format!(
        "{} {}",
        output.toned(tone, symbol),
        output.toned(
            Tone::Strong,
            &format!("{}, {}", letter.queue, letter.status)
        ),
    )];
    let settled = letter.settled_at.map(|at| {
        let by = letter.settled_by.as_deref().unwrap_or("?");
        format!("{} by {by}", time(at))
    });
    let members = [
        ("id", Some(letter.id.clone())),
        ("through", Some(letter.transport.clone())),
        ("for", letter.participant.clone()),
        ("reason", Some(letter.reason.clone())),
        ("delivered", Some(times(letter.deliveries))),
        ("received", Some(time(letter.received_at))),
        (
            "about",
            Some(about(letter)).filter(|about| !about.is_empty()),
        ),
        ("settled", settled),
        ("note", letter.note.clone()),
    ];
    let member = |name: &str, value: &str| {
        let name = output.toned(Tone::Faint, &format!("{name:<9}"));
        format!("  {name} {value}")
    };
    for (name, value) in members {
        lines.extend(value.map(|value| member(name, &value)));
    }
    for (name, value) in &letter.headers {
        lines.push(member("header", &format!("{name}: {}", text(value))));
    }
    lines.push(String::new());
    if let Some(encoding) = &letter.message_encoding {
        lines.push(output.toned(Tone::Faint, &format!("in {encoding}:")));
    }
    lines.push(match letter.message.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string_pretty(&letter.message).unwrap_or_default(),
    });
    lines
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn text(value: &Value) -> String {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(members: &Value) -> Letter {
        let mut letter = json!({
            "id": "0198c7c4-bbbb-7000-8000-000000000000", "status": "open",
            "transport": "rabbitmq", "queue": "payment.commands", "participant": "payment",
            "reason": "rejected", "deliveries": 6, "received_at": "2026-11-21T09:30:12.040Z",
            "saga": "0198c7c4-aaaa-7000-8000-000000000000", "step": "charge", "phase": "action",
            "message": { "data": { "amount": 40 } }, "headers": { "type": "t", "n": 1 },
            "settled_at": null, "settled_by": null, "note": null,
        });
        let members = members.as_object().unwrap().clone();
        letter.as_object_mut().unwrap().extend(members);
        serde_json::from_value(letter).unwrap()
    }

    #[test]
    fn dead_letters_have_columns() {
        let malformed = letter(&json!({
            "queue": "replies", "saga": null, "step": null, "phase": null, "status": "discarded",
            "reason": "it is no reply: EOF",
        }));
        assert_eq!(
            columns(&[letter(&json!({})), malformed], &Output::plain()),
            [
                "0198c7c4-bbbb-7000-8000-000000000000  ✗ open       2026-11-21 09:30:12  \
                 payment.commands  rejected          0198c7c4-aaaa-7000-8000-000000000000 charge \
                 action",
                "0198c7c4-bbbb-7000-8000-000000000000  · discarded  2026-11-21 09:30:12  \
                 replies           it is no reply: EOF",
            ]
        );
    }

    #[test]
    fn a_dead_letter_is_laid_out() {
        let discarded = letter(&json!({
            "status": "discarded", "note": "of a test", "settled_by": "ann",
            "settled_at": "2026-11-21T10:00:00.000Z", "participant": null, "deliveries": 1,
        }));
        assert_eq!(
            whole(&discarded, &Output::plain()).join("\n"),
            "
· payment.commands, discarded
  id        0198c7c4-bbbb-7000-8000-000000000000
  through   rabbitmq
  reason    rejected
  delivered once
  received  2026-11-21 09:30:12.040
  about     0198c7c4-aaaa-7000-8000-000000000000 charge action
  settled   2026-11-21 10:00:00.000 by ann
  note      of a test
  header    type: t
  header    n: 1

{
  \"data\": {
    \"amount\": 40
  }
}"
            .trim_start_matches('\n')
        );
        assert_eq!(
            settled(&discarded, &Output::plain()),
            ["· discarded  payment.commands  of a test"]
        );
        let bytes = letter(&json!({ "message": "/wA=", "message_encoding": "base64" }));
        let laid_out = whole(&bytes, &Output::plain());
        assert_eq!(laid_out[laid_out.len() - 2..], ["in base64:", "/wA="]);
    }
}
