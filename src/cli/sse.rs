//! Reading server-sent events (the HTML Living Standard, section 9.2.6), as far as amends sends
//! them.

/// The longest message that is taken, in bytes: an event carries what a participant answered.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its id, where it has one.
    pub(super) id: Option<String>,
    /// Its type.
    pub(super) event: String,
    /// What it carries.
    pub(super) data: String,
}

/// A message that is longer than any that amends sends.
#[derive(Debug, thiserror::Error)]
#[error("a message of the stream is longer than {MESSAGE_BYTES_MAX} bytes")]
pub(super) struct TooLong;

/// Takes a stream in piece by piece, wherever it is cut.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    message: Message,
    has_data: bool,
}

impl Parser {
    /// The messages that are complete with this piece.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut complete = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.message.data.len() > MESSAGE_BYTES_MAX {
                return Err(TooLong);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                complete.extend(self.line(line.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(complete)
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
                self.has_data = true;
            }
            // A comment, or a field that this version does not know.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ":\n\nid: 1\nevent: saga_started\ndata: {\"a\":\"é\"}\n\nevent: end\r\ndata: x\r\ndata:y\r\n\r\nid: 9\n\n";

    fn message(id: Option<&str>, event: &str, data: &str) -> Message {
        Message {
            id: id.map(str::to_owned),
            event: event.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn messages_are_read_wherever_the_stream_is_cut() {
        let expected = [
            message(Some("1"), "saga_started", "{\"a\":\"é\"}"),
            message(None, "end", "x\ny"),
        ];
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let read: Vec<Message> = STREAM
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| parser.take(piece).unwrap())
                .collect();
            assert_eq!(read, expected, "pieces of {size}");
        }
    }

    #[test]
    fn what_never_ends_is_not_kept() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MESSAGE_BYTES_MAX / 4];
        let taken = (0..5).map(|_| parser.take(&piece)).find(Result::is_err);
        assert!(taken.is_some());
    }
}
