//! What commands print: lines for people, JSON for machines, colours only where a person looks.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::error::CliError;

/// The standard output, and whether it takes colours.
pub(super) struct Output {
    to: Box<dyn Write + Send>,
    coloured: bool,
    terminal: bool,
    /// Whether the last line on the terminal is one that the next takes the place of.
    passing: bool,
}

/// What a piece of text means; its colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Strong,
    /// Beside the point.
    Faint,
    /// It went well.
    Good,
    /// It did not.
    Bad,
    /// It is being undone, or was.
    Undone,
    /// Nobody knows, or something waits.
    Doubt,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| colour.on_default();
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green),
            Self::Bad => colour(AnsiColor::Red),
            Self::Undone => colour(AnsiColor::Cyan),
            Self::Doubt => colour(AnsiColor::Yellow),
        }
    }
}

impl Output {
    /// The process's standard output. Colours on a terminal, unless `NO_COLOR` says otherwise.
    #[expect(
        clippy::disallowed_methods,
        reason = "NO_COLOR is no part of the configuration"
    )]
    pub(super) fn of_process() -> Self {
        let stdout = std::io::stdout();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = stdout.is_terminal();
        Self {
            to: Box::new(stdout),
            coloured: terminal && !refused,
            terminal,
            passing: false,
        }
    }

    /// An output without colours that leads nowhere, for tests.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self {
            to: Box::new(std::io::sink()),
            coloured: false,
            terminal: false,
            passing: false,
        }
    }

    /// Prints a line.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), CliError> {
        let erased = if std::mem::take(&mut self.passing) {
            ERASE_LINE
        } else {
            ""
        };
        let written = writeln!(self.to, "{erased}{text}").and_then(|()| self.to.flush());
        written.map_err(closed)
    }

    /// Shows how it stands, on a terminal only, until the next line is printed.
    pub(super) fn passing(&mut self, text: &str) -> Result<(), CliError> {
        if !self.terminal {
            return Ok(());
        }
        let text = self.toned(Tone::Faint, text);
        self.passing = true;
        let written = write!(self.to, "{ERASE_LINE}{text}").and_then(|()| self.to.flush());
        written.map_err(closed)
    }

    /// Hands bytes on as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = self.to.write_all(bytes).and_then(|()| self.to.flush());
        written.map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                CliError::OutputClosed
            } else {
                CliError::io("the output", error)
            }
        })
    }

    /// Prints JSON over several lines.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        self.line(serde_json::to_string_pretty(value).unwrap_or_default())
    }

    /// Text in its tone.
    pub(super) fn toned(&self, tone: Tone, text: &str) -> String {
        if self.coloured && tone != Tone::Plain && !text.is_empty() {
            let style = tone.style();
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Takes a terminal back to the beginning of a line, with nothing on it.
const ERASE_LINE: &str = "\r\x1b[K";

fn closed(error: std::io::Error) -> CliError {
    if error.kind() == ErrorKind::BrokenPipe {
        CliError::OutputClosed
    } else {
        CliError::io("the output", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Output::plain().toned(Tone::Bad, "no"), "no");
        let output = Output {
            coloured: true,
            ..Output::plain()
        };
        assert_eq!(output.toned(Tone::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(output.toned(Tone::Plain, "no"), "no");
    }
}
